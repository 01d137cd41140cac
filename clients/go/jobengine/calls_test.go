package jobengine_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"jobengine.dev/clients/go/jobengine"
	jobenginev1 "jobengine.dev/clients/go/jobengine/v1"
)

func TestCreateIsRepeatedWithItsOwnRequestID(t *testing.T) {
	var ids []string
	address := serve(t, &server{createJob: func(request *jobenginev1.CreateJobRequest) (*jobenginev1.CreateJobResponse, error) {
		if ids = append(ids, request.GetRequestId()); len(ids) == 1 {
			return nil, status.Error(codes.Unavailable, "not yet")
		}
		return &jobenginev1.CreateJobResponse{Job: &jobenginev1.Job{Name: "a"}}, nil
	}})
	job, err := newClient(t, address).CreateJob(bounded(t), &jobenginev1.JobSpec{}, jobengine.CreateOptions{})
	if err != nil || job.GetName() != "a" {
		t.Fatalf("got %v, %v", job, err)
	}
	if len(ids) != 2 || ids[0] != ids[1] || uuid.Validate(ids[0]) != nil {
		t.Errorf("request ids %q", ids)
	}
}

func TestDeleteThatIsRepeatedMayFindTheJobGone(t *testing.T) {
	var allowed []bool
	address := serve(t, &server{deleteJob: func(request *jobenginev1.DeleteJobRequest) (*jobenginev1.DeleteJobResponse, error) {
		if allowed = append(allowed, request.GetAllowMissing()); len(allowed) == 1 {
			return nil, status.Error(codes.Unavailable, "the answer was lost")
		}
		return &jobenginev1.DeleteJobResponse{}, nil
	}})
	if err := newClient(t, address).DeleteJob(bounded(t), "a", jobengine.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(allowed) != 2 || allowed[0] || !allowed[1] {
		t.Errorf("allow_missing %v", allowed)
	}
}

func TestCallThatAStoppingServerCancelsIsMadeAgain(t *testing.T) {
	calls := 0
	address := serve(t, &server{readEngine: func(context.Context) (*jobenginev1.ReadEngineResponse, error) {
		if calls++; calls == 1 {
			return nil, status.Error(codes.Canceled, "CANCELLED")
		}
		return &jobenginev1.ReadEngineResponse{Name: "another"}, nil
	}})
	engine, err := newClient(t, address).ReadEngine(bounded(t))
	if err != nil || engine.GetName() != "another" {
		t.Errorf("got %v, %v", engine, err)
	}
}

func TestListGoesThroughAllPages(t *testing.T) {
	pages := map[string]*jobenginev1.ListJobsResponse{
		"":  {Jobs: []*jobenginev1.Job{{Name: "a"}, {Name: "b"}}, NextPageToken: "2"},
		"2": {NextPageToken: "3"},
		"3": {Jobs: []*jobenginev1.Job{{Name: "c"}}},
	}
	address := serve(t, &server{listJobs: func(request *jobenginev1.ListJobsRequest) (*jobenginev1.ListJobsResponse, error) {
		return pages[request.GetPageToken()], nil
	}})
	var names []string
	for job, err := range newClient(t, address).ListJobs(bounded(t), jobengine.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, job.GetName())
	}
	if !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Errorf("got %v", names)
	}
}

func TestHealth(t *testing.T) {
	listener := listen(t)
	serving := grpc.NewServer()
	service := health.NewServer()
	service.SetServingStatus(jobengine.Service, healthv1.HealthCheckResponse_NOT_SERVING)
	healthv1.RegisterHealthServer(serving, service)
	go serving.Serve(listener)
	t.Cleanup(serving.Stop)
	client := newClient(t, listener.Addr().String())
	for service, expected := range map[string]bool{"": true, jobengine.Service: false, "no.such.Service": false} {
		if isServed, err := client.CheckHealth(bounded(t), service); isServed != expected || err != nil {
			t.Errorf("%q: got %v, %v", service, isServed, err)
		}
	}
}
