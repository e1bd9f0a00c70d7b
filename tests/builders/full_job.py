"""A manifest in which every field is given, with a value that is not its default."""

FULL = """\
apiVersion: deepseek.dev/v1alpha1
kind: DeepseekJob
metadata:
  name: full
spec:
  suspend: true
  image: registry.example/runtime:1
  servers:
    replicas: 2
    backup: true
    resources: {requests: {cpu: 500m, memory: 4Gi}, limits: {memory: 8Gi}}
    pod:
      labels: {example.com/team: vision}
      annotations: {example.com/note: "a note"}
      nodeSelector: {disktype: ssd}
      tolerations:
      - {key: gpu, operator: Exists, effect: NoExecute, tolerationSeconds: 30}
      - {key: team, value: vision, effect: NoSchedule}
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
            - matchExpressions:
              - {key: topology.kubernetes.io/zone, operator: In, values: [a, b]}
              - {key: cores, operator: Gt, values: ["8"]}
          preferredDuringSchedulingIgnoredDuringExecution:
          - {weight: 5, preference: {matchExpressions: [{key: fast, operator: Exists}]}}
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
          - weight: 100
            podAffinityTerm:
              topologyKey: kubernetes.io/hostname
              labelSelector:
                matchLabels: {app: noisy}
                matchExpressions: [{key: tier, operator: NotIn, values: [back]}]
        podAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
          - {topologyKey: zone, labelSelector: {matchLabels: {app: cache}}}
      volumes:
      - {name: words, configMap: {name: words}}
      - {name: token, secret: {secretName: hub-token}}
      - {name: shm, emptyDir: {medium: Memory, sizeLimit: 1Gi}}
      - {name: data, persistentVolumeClaim: {claimName: data, readOnly: true}}
      volumeMounts:
      - {name: words, mountPath: /words}
      - {name: token, mountPath: /run/token, readOnly: true}
      - {name: shm, mountPath: /dev/shm}
      - {name: data, mountPath: /data, subPath: images/train}
      env: [{name: OMP_NUM_THREADS, value: "2"}]
      priorityClassName: high
      imagePullSecrets: [{name: registry}]
  workers:
    replicas: 3
    min: 2
    max: 8
    resources: {limits: {nvidia.com/gpu: "1"}}
  training:
    script: train.py
    code: {configMap: my-code}
    args: {width: 3, names: [a, b], nested: {deep: [1, 2.5, null, true]}, free-key: x}
    epochs: 10
    batchSize: 16
    seed: 7
    optimizer:
      {name: sgd, lr: 0.1, momentum: 0.9, weightDecay: 0.001, schedule: cosine, warmupSteps: 10, clipNorm: 0.5}
    update: {mode: local, localSteps: 4, weight: one}
    staleness: {mode: bounded, max: 4}
    compression:
      method: topk
      ratio: 0.1
      valueBits: 16
      publishEvery: 0.25
      rules:
        - {match: "head.*", method: topk, ratio: 0.2, valueBits: 8}
        - {match: "*.proj.weight", method: lowrank, rank: 2}
    precision: {compute: float16, lossScale: {init: 1024, growth: 4, backoff: 0.25, interval: 100}, masters: host}
    evaluation: {everySteps: 100}
    guard:
      {mode: act, risk: 0.0001, warmupRanges: 16, calmRanges: 64, slowAfter: 4, slowFactor: 0.25, rollBackAfter: 20,
       maxRollBacks: 1}
  checkpoint:
    everySteps: 50
    keep: 2
    storage: {uri: "s3://bucket/folder", secret: bucket-keys, options: {endpoint_url: "http://store:9000", anon: false}}
    restoreFrom: s3://bucket/other
  runPolicy: {activeDeadlineSeconds: 3600, backoffLimit: 2, cleanPodPolicy: None, ttlSecondsAfterFinished: 60}
"""
VOLUME = """\
apiVersion: deepseek.dev/v1alpha1
kind: DeepseekJob
metadata:
  name: volume
spec:
  training: {task: "a.b:C", steps: 10, optimizer: {betas: [0.8, 0.9]}, staleness: {mode: async}}
  checkpoint: {storage: {pvc: {claimName: claim, subPath: jobs/here}}, restoreFrom: "file:///var/lib/dsj/checkpoints/a"}
"""
"""Checkpoints in a volume; what FULL cannot hold beside the rest."""
