{{- define "agent.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 55 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 55 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "agent.selector" -}}
app.kubernetes.io/name: {{ include "agent.fullname" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "agent.labels" -}}
{{ include "agent.selector" . }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "agent.secret" -}}
{{ .Values.clearml.existingAgentk8sglueSecret | default (printf "%s-ac" (include "agent.fullname" .)) }}
{{- end }}

{{- define "agent.account" -}}
{{ .Values.agentk8sglue.serviceExistingAccountName | default (printf "%s-sa" (include "agent.fullname" .)) }}
{{- end }}

{{- define "agent.pullSecrets" -}}
{{- with .Values.imageCredentials }}
{{- if and .enabled .existingSecret }}
imagePullSecrets: [{name: {{ .existingSecret }}}]
{{- end }}
{{- end }}
{{- end }}

{{- define "agent.image" -}}
{{ with .Values.agentk8sglue.image }}{{ .registry }}/{{ .repository }}:{{ .tag }}{{ end }}
{{- end }}
