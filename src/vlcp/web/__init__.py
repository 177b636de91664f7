"""HTTP: virtual hosts, dispatch, parameters and answers, on aiohttp.

aiohttp takes longer to import than half of the rest, and flows do not wait for it: `connection`, `answers` and
`parameters` need it and are imported late, inside of the functions that use them. Declaring routes does without.
"""
