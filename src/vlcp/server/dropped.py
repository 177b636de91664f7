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
    "the levels of server.logging say what is logged": "protocol.*.debugging",
    "no script of this version reads it": "main.knownmodules",
    "a module's class says when it is unloaded": "module.*.service",
    "unloading a module always ends its tasks": "module.*.forcestop",
    "a module has succeeded when its load has": "module.*.autosuccess",
    "connections are always known, and closed with their module": "module.*.connmanage",
    "data is read as it comes": "protocol.*.buffersize",
    "it is always on": "protocol.*.tcp_nodelay",
    "the newest version of TLS that both sides have is used, at least 1.2": "protocol.*.sslversion",
    "it is the silence of the peer that counts": "protocol.*.writekeepalivetime",
    "a structure is shown with its fields and nothing else": "jsonformat.dumpextra jsonformat.dumptypeinfo",
    "text in JSON is UTF-8": "protocol.jsonrpc.encoding",
    "the extensions of Open vSwitch are always used": """
        protocol.openflow.disablenxext protocol.openflow.disablechaining""",
    "the requests of one connection are answered one by one": "protocol.http.pipelinelimit",
    "the HTTP library has its own limits of chunks": """
        protocol.http.chunkedheaderlimit protocol.http.chunkednumberlimit""",
    "it is HTTP/1.1, and answers are not compressed on the way": """
        protocol.http.defaultversion protocol.http.allowtransfercompress""",
    "it is about requests that are sent, which webclient.* sets": """
        protocol.http.allownoheader protocol.http.useexpect protocol.http.useexpectsize
        protocol.http.expecttimeout protocol.http.defaultrequestheaders""",
    "no connection is kept and no redirect followed": """
        webclient.cleanupinterval webclient.redirectlimit webclient.sameurllimit""",
    "the operating system keeps small files in memory": """
        module.static.memorycache module.static.memorycachelimit module.static.memorycacheitemlimit""",
    "every switch has the flows of every module": """
        module.arpresponder.vhostbind module.dhcpserver.vhostbind module.ioprocessing.vhostbind
        module.l2switch.vhostbind""",
    "every bridge counts that has us as its controller": "module.ovsdbmanager.bridgenames",
    "flows are there before the first packet": "module.arpresponder.prepush",
    "this version answers requests to all for the addresses of ports, and sends no ARP by itself": """
        module.arpresponder.broadcastonly module.arpresponder.disableothers module.arpresponder.enable_freearp
        module.arpresponder.enable_freearp_networktypes""",
    "where a port is comes from the store, nothing is learned from packets": """
        module.l2switch.learning module.l2switch.nxlearn module.l2switch.learntimeout""",
    "this version has no routers, and one set of physical networks": """
        module.ioprocessing.enable_router_forward module.ioprocessing.vhostmap""",
}
"""Why -> the keys; `*` stands for any one name."""

DROPPED = {key: reason for reason, keys in _REASONS.items() for key in keys.split()}

_SECTIONS = """
    redisclient zookeeperclient protocol.raw protocol.redis protocol.zookeeper
    module.dockerplugin module.freearp module.icmpresponder module.l3router module.redisdb module.redisnotifier
    module.vtepcontroller module.vxlancast module.vxlanvtep module.zookeeperdb"""
ABSENT = dict.fromkeys(_SECTIONS.split(), "this version has nothing that reads it")
"""Sections of earlier versions that belong to modules which do not exist here."""

CHANGED = {
    "daemon.detach_process": "None, which guessed it from the parent process",
    "daemon.umask": "0, so that everybody could write to files that it makes",
    "module.default.vhostbind": "[''], for modules of flows; now it is one of the managers of connections",
    "protocol.http.defaulthost": "None",
    "protocol.http.defaultresponseheaders": "a name and HTML as the type; now the answer has the type of what is in it",
}
"""Keys with another default than in version 2: what it was there, and why not now."""
