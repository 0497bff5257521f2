{{/* Telecine's templates use these as well: they take nothing from this chart's values or name. */}}
{{- define "weaviate.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}-weaviate
{{- end -}}

{{- define "weaviate.selector" -}}
app.kubernetes.io/name: weaviate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: weaviate
{{- end -}}

{{- define "weaviate.labels" -}}
{{ include "weaviate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "weaviate-%s" .Chart.Version }}
{{- end -}}
