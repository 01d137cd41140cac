package jobengine

import (
	"strings"

	jobenginev1 "jobengine.dev/clients/go/jobengine/v1"
)

// IsTerminal tells whether the job has ended; such a status never changes.
func IsTerminal(status *jobenginev1.JobStatus) bool {
	switch status.GetState() {
	case jobenginev1.JobState_JOB_STATE_SUCCEEDED,
		jobenginev1.JobState_JOB_STATE_FAILED,
		jobenginev1.JobState_JOB_STATE_CANCELLED,
		jobenginev1.JobState_JOB_STATE_LOST:
		return true
	}
	return false
}

// StateName returns the state's name without its prefix, for example "SUCCEEDED"; its number
// where the server is newer than this client.
func StateName(status *jobenginev1.JobStatus) string {
	return strings.TrimPrefix(status.GetState().String(), "JOB_STATE_")
}

// ReasonName returns the reason's name without its prefix, for example "OOM_KILLED"; empty where
// there is none; its number where the server is newer than this client.
func ReasonName(status *jobenginev1.JobStatus) string {
	if status.GetReason() == jobenginev1.JobReason_JOB_REASON_UNSPECIFIED {
		return ""
	}
	return strings.TrimPrefix(status.GetReason().String(), "JOB_REASON_")
}
