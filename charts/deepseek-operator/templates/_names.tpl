{{- define "dsj.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters: the longest that is put behind it has 20, and a name ends at 63. */}}
{{- define "dsj.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "dsj.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "dsj.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* (list . "component") */}}
{{- define "dsj.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "dsj.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "dsj.labels" -}}
{{- $root := index . 0 -}}
{{ include "dsj.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "dsj.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "dsj.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* (list . image): with imageRegistry before a repository that names no registry; the tag is the appVersion's by default */}}
{{- define "dsj.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $repository := $image.repository -}}
{{- $first := splitList "/" $repository | first -}}
{{- $registry := default $root.Values.imageRegistry ($root.Values.global).imageRegistry -}}
{{- if and $registry (not (or (contains "." $first) (contains ":" $first) (eq $first "localhost"))) -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" $registry) $repository -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default $root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Where the etcd and the store of this release are reached. */}}
{{- define "dsj.etcd.host" -}}
{{ include "dsj.fullname" . }}-etcd.{{ .Release.Namespace }}.svc
{{- end -}}

{{- define "dsj.store.host" -}}
{{ include "dsj.fullname" . }}-store.{{ .Release.Namespace }}.svc
{{- end -}}

{{- define "dsj.etcd.endpoints" -}}
{{- if .Values.etcd.enabled -}}
{{ include "dsj.etcd.host" . }}:2379
{{- else -}}
{{- join "," .Values.etcd.external.endpoints -}}
{{- end -}}
{{- end -}}

{{/* "pvc" or "emptyDir" */}}
{{- define "dsj.store.volume" -}}
{{- $persistence := .Values.store.persistence -}}
{{- if ne $persistence.mode "auto" -}}
{{- $persistence.mode -}}
{{- else if or $persistence.existingClaim $persistence.storageClassName -}}
pvc
{{- else if lookup "v1" "PersistentVolumeClaim" .Release.Namespace (printf "%s-store" (include "dsj.fullname" .)) -}}
pvc
{{- else if not (lookup "v1" "Namespace" "" "kube-system") -}}
{{- /* no cluster is asked (helm template) */ -}}
pvc
{{- else -}}
{{- $found := "emptyDir" -}}
{{- range (lookup "storage.k8s.io/v1" "StorageClass" "" "").items -}}
{{- if eq (dig "metadata" "annotations" "storageclass.kubernetes.io/is-default-class" "" .) "true" -}}
{{- $found = "pvc" -}}
{{- end -}}
{{- end -}}
{{- $found -}}
{{- end -}}
{{- end -}}

{{/* What in the release's namespace holds keys, or the data of etcd and the store: no job may name it. */}}
{{- define "dsj.ownSecrets" -}}
{{- $name := include "dsj.fullname" . -}}
{{- $found := list (printf "%s-ca" $name) (printf "%s-etcd-tls" $name) (printf "%s-store-tls" $name) (printf "%s-store-key" $name) -}}
{{- if not .Values.etcd.enabled -}}{{- $found = append $found .Values.etcd.external.secretName -}}{{- end -}}
{{- compact $found | join "," -}}
{{- end -}}

{{- define "dsj.ownClaims" -}}
{{- $name := include "dsj.fullname" . -}}
{{- $found := list (default (printf "%s-store" $name) .Values.store.persistence.existingClaim) -}}
{{- range $index := until (int .Values.etcd.replicas) -}}
{{- $found = append $found (printf "data-%s-etcd-%d" $name $index) -}}
{{- end -}}
{{- join "," $found -}}
{{- end -}}

{{/* Nothing; fails where another release has brought the definition (a cluster has it once). */}}
{{- define "dsj.crds.unowned" -}}
{{- $found := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "deepseekjobs.deepseek.dev" -}}
{{- $release := dig "metadata" "annotations" "meta.helm.sh/release-name" "" $found -}}
{{- $namespace := dig "metadata" "annotations" "meta.helm.sh/release-namespace" "" $found -}}
{{- if and $release (ne (printf "%s/%s" $namespace $release) (printf "%s/%s" .Release.Namespace .Release.Name)) -}}
{{- fail (printf "the definition deepseekjobs.deepseek.dev is of the release %s in the namespace %s: set crds.enabled=false here. Or, where that release is gone or is to give it up: kubectl annotate crd deepseekjobs.deepseek.dev --overwrite meta.helm.sh/release-name=%s meta.helm.sh/release-namespace=%s" $release $namespace .Release.Name .Release.Namespace) -}}
{{- end -}}
{{- end -}}
