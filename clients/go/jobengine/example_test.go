package jobengine_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"jobengine.dev/clients/go/jobengine"
	jobenginev1 "jobengine.dev/clients/go/jobengine/v1"
)

func ExampleClient_Run() {
	client, err := jobengine.New("127.0.0.1:50051")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()

	spec := &jobenginev1.JobSpec{Command: []string{"sh", "-c", "exit 3"}}
	status, err := client.Run(ctx, spec, jobengine.RunOptions{Name: "nightly"})
	switch {
	case errors.Is(err, jobengine.ErrJobAlreadyExists):
		log.Fatal("it runs already")
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println(jobengine.StateName(status), status.GetExitCode())
}

func ExampleClient_WatchJobs() {
	client, err := jobengine.New("jobs.example.com:443",
		jobengine.WithTLS(nil), jobengine.WithToken(os.Getenv("JOBENGINE_TOKEN")))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	options := jobengine.WatchJobsOptions{LabelSelector: "app=web"}
	for event, err := range client.WatchJobs(context.Background(), options) {
		if err != nil {
			log.Fatal(err)
		}
		if event.GetEvent() == jobenginev1.WatchEvent_WATCH_EVENT_STATUS {
			fmt.Println(event.GetJob().GetName(), jobengine.StateName(event.GetJob().GetStatus()))
		}
	}
}

func ExampleError() {
	client, err := jobengine.New("")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	_, err = client.CreateJob(context.Background(), &jobenginev1.JobSpec{}, jobengine.CreateOptions{Name: "Not A Name"})
	if failure, ok := errors.AsType[*jobengine.Error](err); ok {
		for _, violation := range failure.Violations {
			fmt.Println(violation.Field, violation.Description)
		}
	}
}
