"""A real Kubernetes on this machine, without a container engine: each node is a network and a mount namespace.

A node runs its own containerd, kubelet and kube-proxy; API server, controllers, scheduler, etcd and CoreDNS run beside
the nodes. `python -m testcluster up` (make cluster-up) starts it, `down` removes every trace, also of a start that
crashed: what belongs to a cluster is found by its names (cgroups, namespaces, bridge), not in notes that could be lost.

    layout          names, addresses and folders, from a number: several clusters fit on one machine
    needs           what the machine lacks, as one sentence
    binaries        kubernetes, coredns and helm, built from the pinned Go module in go/, kept in the cache folder
    certificates    the cluster's CA and what it signs; kubeconfigs
    cgroups         groups of processes: how a node is killed whole
    daemons         one program, started in a group and in namespaces
    network         bridge, namespaces, routes
    control_plane   etcd, API server, controllers, scheduler
    dns             CoreDNS
    node            one node: start, kill, its containers
    archives        images of one static program, without any tool
    images          images from the Dockerfile, by buildah; into the nodes
    volumes         PersistentVolumes that all nodes reach
    audit           what was written to the API server, and by whom
    cluster         up, down, and a cluster that is up
"""
