"""Keys of earlier versions that are accepted but have no effect, with the reason that users are told."""

from __future__ import annotations

_REASONS = {
    "what is ready runs in turn, there are no priorities": """
        server.pollwritepriority server.connectionwritepriority server.pollreadpriority server.pollerrorpriority
        server.resolverresppriority server.resolverreqpriority server.connectioncontrolpriority
        server.routinecontrolpriority server.streamdatapriority server.timerpriority server.lockpriority
        server.futurepriority server.moduleloadeventpriority server.sysctlpriority server.sysctllowpriority
        server.moduleapicallpriority server.moduleapireplypriority server.modulenotifypriority
        protocol.*.messagepriority protocol.*.writepriority protocol.http.responseendpriority
        module.objectdb.objectupdatepriority""",
    "there is no event queue": """
        server.processevents server.queuedefaultsize server.queuemaxsize server.totalwritelimit
        server.writelimitperconnection server.preservefornew server.streamdatalimit server.datalimitperstream
        protocol.*.createqueue protocol.*.writequeuesize protocol.*.messagequeuesize protocol.*.cleanuptimeout""",
    "names are resolved by the event loop's own threads": "server.resolverpoolsize",
    "a module's class says when it is unloaded": "module.*.service",
    "unloading a module always ends its tasks": "module.*.forcestop",
    "a module has succeeded when its load has": "module.*.autosuccess",
}
"""Why -> the keys; `*` stands for any one name."""

DROPPED = {key: reason for reason, keys in _REASONS.items() for key in keys.split()}

_SECTIONS = """
    main redisclient zookeeperclient protocol.raw protocol.redis protocol.zookeeper
    module.dockerplugin module.freearp module.icmpresponder module.l3router module.redisdb module.redisnotifier
    module.vtepcontroller module.vxlancast module.vxlanvtep module.zookeeperdb"""
ABSENT = dict.fromkeys(_SECTIONS.split(), "this version has nothing that reads it")
"""Sections of earlier versions that belong to modules which do not exist here."""

CHANGED = {
    "daemon.detach_process": "None, which guessed it from the parent process",
    "daemon.umask": "0, so that everybody may write to files that it makes",
}
"""Keys with another default than in version 2: what it was there, and why not now."""
