"""HTTP: virtual hosts, dispatch, parameters and answers, on aiohttp."""
