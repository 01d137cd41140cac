// Threejobs submits three jobs, one of which fails, follows them, prints what they write, and exits
// with the worst of their exit codes. Ctrl-C cancels them; a second one leaves at once.
//
// JOBENGINE_ADDRESS says where the server is. Default: 127.0.0.1:50051.
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"jobengine.dev/clients/go/jobengine"
	jobenginev1 "jobengine.dev/clients/go/jobengine/v1"
)

// limit bounds the whole.
const limit = 10 * time.Minute

// serviceFailed is the exit code where not a job failed, but the service.
const serviceFailed = 125

var scripts = []string{
	"for i in 1 2 3; do echo step $i; sleep 1; done",
	"echo looking for trouble; sleep 1; echo found it >&2; exit 3",
	"sleep 2; echo done",
}

func main() {
	log.SetFlags(0)
	client, err := jobengine.New("")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	code, err := run(ctx, client)
	cancel()
	client.Close()
	if err != nil {
		log.Print(err)
		code = serviceFailed
	}
	os.Exit(code)
}

// run runs the jobs, and returns the worst exit code.
func run(ctx context.Context, client *jobengine.Client) (int, error) {
	interrupted, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var jobs []*jobenginev1.Job
	for _, script := range scripts {
		spec := &jobenginev1.JobSpec{Command: []string{"sh", "-c", script}}
		job, err := client.CreateJob(interrupted, spec, jobengine.CreateOptions{})
		if err != nil {
			cancelAll(ctx, client, jobs)
			return 0, err
		}
		jobs = append(jobs, job)
	}
	defer context.AfterFunc(interrupted, func() {
		stop() // from here on a second Ctrl-C has its usual effect
		cancelAll(ctx, client, jobs)
	})()

	codes, failures := make([]int, len(jobs)), make([]error, len(jobs))
	var following sync.WaitGroup
	for i, job := range jobs {
		following.Go(func() { codes[i], failures[i] = follow(ctx, client, job.GetName()) })
	}
	following.Wait()
	worst := 0
	for i := range jobs {
		if failures[i] != nil {
			return 0, failures[i]
		}
		worst = max(worst, codes[i])
	}
	return worst, nil
}

func cancelAll(ctx context.Context, client *jobengine.Client, jobs []*jobenginev1.Job) {
	for _, job := range jobs {
		if _, err := client.CancelJob(ctx, job.GetName(), jobengine.CancelOptions{UID: job.GetUid()}); err != nil {
			log.Print(err)
		}
	}
}

// follow prints a job's states and output, until both have ended; it returns the exit code.
func follow(ctx context.Context, client *jobengine.Client, name string) (int, error) {
	var printing sync.WaitGroup
	var outputFailure error
	printing.Go(func() { outputFailure = printOutput(ctx, client, name) })
	var last *jobenginev1.JobStatus
	for event, err := range client.WatchStatus(ctx, name, jobengine.WatchStatusOptions{}) {
		if err != nil {
			return 0, err
		}
		last = event.GetStatus()
		fmt.Println(strings.TrimSpace(name + ": " + jobengine.StateName(last) + " " + last.GetMessage()))
	}
	printing.Wait()
	return exitCode(last), outputFailure
}

// printOutput prints what a job writes, line by line, so that lines of several jobs don't mix.
func printOutput(ctx context.Context, client *jobengine.Client, name string) error {
	var rest []byte
	for chunk, err := range client.Logs(ctx, name, jobengine.LogsOptions{Follow: true}) {
		if err != nil {
			return err
		}
		rest = append(rest, chunk.GetData()...)
		for {
			line, after, complete := bytes.Cut(rest, []byte("\n"))
			if !complete {
				break
			}
			fmt.Printf("%s| %s\n", name, line)
			rest = after
		}
	}
	if len(rest) > 0 {
		fmt.Printf("%s| %s\n", name, rest)
	}
	return nil
}

// exitCode returns what a shell would: 128 and the signal where there is one, 1 for a job that
// didn't succeed without either.
func exitCode(status *jobenginev1.JobStatus) int {
	switch {
	case status.GetSignal() != 0:
		return 128 + int(status.GetSignal())
	case status.GetExitCode() != 0:
		return int(status.GetExitCode())
	case status.GetState() != jobenginev1.JobState_JOB_STATE_SUCCEEDED:
		return 1
	}
	return 0
}
