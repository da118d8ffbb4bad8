# A template of a pod that runs on any cluster, in place of those of example.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  selector:
    matchLabels: { app: {{ .Release.Name }} }
  template:
    metadata:
      labels:
        app: {{ .Release.Name }}
        {{- include "netproxy.podLabels" . | nindent 8 }}
    spec:
      initContainers:
        {{- include "netproxy.initContainer" . | nindent 8 }}
      containers:
        {{- include "netproxy.container" . | nindent 8 }}
        - name: app
          image: {{ .Values.image }}
      volumes:
        {{- include "netproxy.volumes" . | nindent 8 }}
