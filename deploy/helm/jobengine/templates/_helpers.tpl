{{- define "jobengine.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "jobengine.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "jobengine.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "jobengine.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the server's pods. Never of the jobs' pods: those have app.kubernetes.io/managed-by=jobengine. */}}
{{- define "jobengine.selector" -}}
app.kubernetes.io/name: {{ include "jobengine.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "jobengine.labels" -}}
{{ include "jobengine.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "jobengine.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "jobengine.account" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "jobengine.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "jobengine.jobs" -}}
{{- default .Release.Namespace .Values.jobs.namespace -}}
{{- end -}}

{{/* What the server would refuse too, but only in its logs. */}}
{{- define "jobengine.check" -}}
{{- $asks := or .Values.tls.clientCa .Values.auth.tokens.secretName .Values.auth.jwtIssuers.configMapName -}}
{{- if not .Values.insecure -}}
{{- if not .Values.tls.secretName -}}
{{- fail "tls.secretName: name the Secret of the server's certificate, or set insecure=true" -}}
{{- end -}}
{{- if not $asks -}}
{{- fail "nobody is asked who calls: set tls.clientCa, auth.tokens or auth.jwtIssuers, or insecure=true" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.tls.clientCa (not .Values.tls.secretName) -}}
{{- fail "tls.clientCa needs tls.secretName" -}}
{{- end -}}
{{- if and .Values.auth.policy.configMapName (not $asks) -}}
{{- fail "auth.policy needs to know who calls: set tls.clientCa, auth.tokens or auth.jwtIssuers" -}}
{{- end -}}
{{- end -}}
