{{- define "telecine.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "telecine.labels" -}}
app.kubernetes.io/name: telecine
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* Labels that a selector may rely on: they never change. Argument: (list . "operator") */}}
{{- define "telecine.selector" -}}
app.kubernetes.io/name: telecine
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "telecine.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "telecine.workerImage" -}}
{{ .Values.workers.image.repository }}:{{ .Values.workers.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* What runs the operator, and what lets go of resources when it leaves. */}}
{{- define "telecine.operatorImage" -}}
{{- if eq .Values.workers.executor "kubernetes" }}
image: {{ include "telecine.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- else }}
image: {{ include "telecine.workerImage" . | quote }}
imagePullPolicy: {{ .Values.workers.image.pullPolicy }}
{{- end }}
{{- end -}}

{{/* Where the operator's Pod may run; what lets go of resources has to run there as well. */}}
{{- define "telecine.operatorPlace" -}}
{{- with .Values.operator.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.operator.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.operator.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.operator.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What the chart's values make of the template of every worker's Pod, as JSON. */}}
{{- define "telecine.workerTemplate" -}}
{{- $container := dict "name" "worker" "resources" .Values.workers.resources }}
{{- $scratch := dict "name" "scratch" "emptyDir" (dict "sizeLimit" .Values.workers.scratch.sizeLimit) }}
{{- $spec := dict "containers" (list $container) "volumes" (list $scratch) }}
{{- with .Values.imagePullSecrets }}
{{- $_ := set $spec "imagePullSecrets" . }}
{{- end }}
{{- dict "spec" $spec | toJson -}}
{{- end -}}

{{/* Refuses two answers to the question which Weaviate it is. */}}
{{- define "telecine.checkWeaviate" -}}
{{- if .Values.weaviate.install }}
{{- range $value := list "endpoint" "grpcHost" "secret" }}
{{- if get $.Values.weaviate $value }}
{{- fail (printf "weaviate.%s is of a Weaviate that is there, and weaviate.install installs one: give one of them" $value) }}
{{- end }}
{{- end }}
{{- if ne (int .Values.weaviate.grpcPort) 50051 }}
{{- fail "weaviate.grpcPort is of a Weaviate that is there, and weaviate.install installs one: give one of them" }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "telecine.grpcHost" -}}
{{- if .Values.weaviate.install -}}
{{ include "weaviate.name" . }}.{{ .Release.Namespace }}.svc
{{- else -}}
{{ .Values.weaviate.grpcHost }}
{{- end -}}
{{- end -}}

{{- define "telecine.weaviateEndpoint" -}}
{{- if .Values.weaviate.install -}}
http://{{ include "telecine.grpcHost" . }}:8080
{{- else -}}
{{ .Values.weaviate.endpoint | default "http://weaviate.weaviate.svc:80" }}
{{- end -}}
{{- end -}}

{{/* namespace/name of the Secret with Weaviate's key; empty: anonymous. */}}
{{- define "telecine.weaviateSecret" -}}
{{- if .Values.weaviate.install -}}
{{ .Release.Namespace }}/{{ .Values.weaviateServer.existingSecret | default (include "weaviate.name" .) }}
{{- else -}}
{{ .Values.weaviate.secret }}
{{- end -}}
{{- end -}}

{{- define "telecine.keyNamespace" -}}
{{- (split "/" (include "telecine.weaviateSecret" .))._0 -}}
{{- end -}}

{{- define "telecine.keyName" -}}
{{- (split "/" (include "telecine.weaviateSecret" .))._1 -}}
{{- end -}}

{{/* The restricted Pod Security Standard. */}}
{{- define "telecine.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "telecine.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Labels and annotations of what runs before an uninstall. Argument: (list . "weight") */}}
{{- define "telecine.releaseHook" -}}
labels:
  {{- include "telecine.labels" (index . 0) | nindent 2 }}
  app.kubernetes.io/component: release
annotations:
  helm.sh/hook: pre-delete
  helm.sh/hook-weight: {{ index . 1 | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* Settings that operator and gateway share. */}}
{{- define "telecine.env" -}}
- name: TELECINE_WEAVIATE_ENDPOINT
  value: {{ include "telecine.weaviateEndpoint" . | quote }}
{{- with include "telecine.grpcHost" . }}
- name: TELECINE_WEAVIATE_GRPC_HOST
  value: {{ . | quote }}
{{- end }}
- name: TELECINE_WEAVIATE_GRPC_PORT
  value: {{ .Values.weaviate.grpcPort | quote }}
{{- with include "telecine.weaviateSecret" . }}
- name: TELECINE_WEAVIATE_SECRET
  value: {{ . | quote }}
{{- end }}
{{- with .Values.watchNamespace }}
- name: TELECINE_KUBE_NAMESPACE
  value: {{ . | quote }}
{{- end }}
{{- with .Values.gateway.url }}
- name: TELECINE_GATEWAY_URL
  value: {{ . | quote }}
{{- end }}
- name: TELECINE_CACHE
  value: /var/lib/telecine/cache
- name: HOME
  value: /var/lib/telecine
{{- end -}}
