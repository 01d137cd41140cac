package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/encoding/protojson"

	"jobengine.dev/clients/go/jobengine"
	jobenginev1 "jobengine.dev/clients/go/jobengine/v1"
)

const stepTimeout = 30 * time.Second

// step is one of a case; SCENARIOS.md says what it means.
type step struct {
	Do     string
	Direct bool
	As     string
	Expect any
	Error  map[string]any

	Name, UID, RequestID, Cursor string
	Spec                         json.RawMessage
	ValidateOnly, AllowMissing   bool
	Wait                         bool
	TimeoutSeconds, GraceSeconds *float64
	Selector                     string
	States                       []string

	Stream, LogStream, Contains string
	Instance                    int32
	Follow                      bool
	TailLines                   *int64

	Action, File, Text string
}

// player takes the steps of one case.
type player struct {
	stage   *stage
	caller  *jobengine.Client
	direct  *jobengine.Client
	streams map[string]*stream
	kept    map[string]string
}

// take takes a step, which has to fail if it says so.
func (p *player) take(ctx context.Context, raw json.RawMessage) error {
	s, err := p.read(raw)
	if err != nil {
		return err
	}
	// Not by a deadline of the context: that would overrule those of the client.
	stepContext, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := time.AfterFunc(stepTimeout, func() { cancel(fmt.Errorf("it took longer than %v", stepTimeout)) })
	defer limit.Stop()
	result, err := p.do(ctx, stepContext, s)
	if stepContext.Err() != nil {
		return errors.Join(context.Cause(stepContext), err)
	}
	if s.Error != nil {
		failure, ok := errors.AsType[*jobengine.Error](err)
		if !ok {
			return fmt.Errorf("no such error, but %v and %v", err, result)
		}
		return difference(map[string]any(s.Error), asExample(failure))
	}
	if err != nil {
		return err
	}
	actual, err := asJSON(result)
	if err != nil {
		return err
	}
	if s.As != "" {
		key := "uid"
		if s.Do == "until" {
			key = "cursor"
		}
		p.kept["$"+s.As] = actual.(map[string]any)[key].(string)
	}
	if s.Do == "until" || s.Do == "text" || s.Expect == nil {
		return nil
	}
	return difference(s.Expect, actual)
}

// do does what a step says. Its streams live as long as the case.
func (p *player) do(caseContext, ctx context.Context, s *step) (any, error) {
	client := p.caller
	if s.Direct {
		client = p.direct
	}
	switch s.Do {
	case "stage":
		return nil, p.stage.do(ctx, s.Action, s.File, s.Text)
	case "watch":
		options := jobengine.WatchStatusOptions{Cursor: s.Cursor}
		p.streams[s.Stream] = begin(caseContext, func(ctx context.Context, s *stream) error {
			return read(s, client.WatchStatus(ctx, s.name, options))
		}, s.Name)
	case "watchAll":
		options := jobengine.WatchJobsOptions{LabelSelector: s.Selector, Cursor: s.Cursor}
		p.streams[s.Stream] = begin(caseContext, func(ctx context.Context, s *stream) error {
			return read(s, client.WatchJobs(ctx, options))
		}, "")
	case "logs":
		options := jobengine.LogsOptions{
			Instance:  s.Instance,
			Stream:    jobenginev1.LogStream(jobenginev1.LogStream_value[s.LogStream]),
			Follow:    s.Follow,
			TailLines: s.TailLines,
			Cursor:    s.Cursor,
		}
		p.streams[s.Stream] = begin(caseContext, func(ctx context.Context, s *stream) error {
			return read(s, client.Logs(ctx, s.name, options))
		}, s.Name)
	case "until":
		return p.streams[s.Stream].until(ctx, s.Expect)
	case "text":
		return nil, p.streams[s.Stream].text(ctx, s)
	case "end":
		return nil, p.streams[s.Stream].end(ctx)
	case "close":
		return nil, p.streams[s.Stream].close(ctx)
	default:
		return call(ctx, client, s)
	}
	return nil, nil
}

// call makes a call that has one answer.
func call(ctx context.Context, client *jobengine.Client, s *step) (any, error) {
	var grace *time.Duration
	if s.GraceSeconds != nil {
		grace = new(seconds(*s.GraceSeconds))
	}
	if s.TimeoutSeconds != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, seconds(*s.TimeoutSeconds))
		defer cancel()
	}
	spec := &jobenginev1.JobSpec{}
	if s.Spec != nil {
		if err := protojson.Unmarshal(s.Spec, spec); err != nil {
			return nil, err
		}
	}
	switch s.Do {
	case "create":
		return client.CreateJob(ctx, spec, jobengine.CreateOptions{Name: s.Name, RequestID: s.RequestID, ValidateOnly: s.ValidateOnly})
	case "run":
		return client.Run(ctx, spec, jobengine.RunOptions{Name: s.Name})
	case "wait":
		return client.Wait(ctx, s.Name)
	case "readJob":
		return client.ReadJob(ctx, s.Name)
	case "readStatus":
		return client.ReadStatus(ctx, s.Name, jobengine.ReadStatusOptions{})
	case "list":
		return list(ctx, client, s)
	case "cancel":
		return client.CancelJob(ctx, s.Name, jobengine.CancelOptions{UID: s.UID, GracePeriod: grace})
	case "delete":
		return nil, client.DeleteJob(ctx, s.Name, jobengine.DeleteOptions{
			UID: s.UID, AllowMissing: s.AllowMissing, Wait: s.Wait, GracePeriod: grace,
		})
	case "readEngine":
		return client.ReadEngine(ctx)
	}
	return nil, fmt.Errorf("this player doesn't know how to do %q", s.Do)
}

func list(ctx context.Context, client *jobengine.Client, s *step) ([]any, error) {
	options := jobengine.ListOptions{LabelSelector: s.Selector}
	for _, name := range s.States {
		options.States = append(options.States, jobenginev1.JobState(jobenginev1.JobState_value[name]))
	}
	names := []any{}
	for job, err := range client.ListJobs(ctx, options) {
		if err != nil {
			return nil, err
		}
		names = append(names, job.GetName())
	}
	return names, nil
}

// dropStreams leaves the streams that are still open, and checks what they told.
func (p *player) dropStreams() error {
	var problems []error
	for _, s := range p.streams {
		s.cancel()
		<-s.done
		problems = append(problems, s.check())
	}
	return errors.Join(problems...)
}

// read reads a step, with what it refers to filled in.
func (p *player) read(raw json.RawMessage) (*step, error) {
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, err
	}
	value, err := p.fillIn(value)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	s := &step{}
	err = unmarshalStrictly(text, s)
	return s, err
}

func (p *player) fillIn(value any) (any, error) {
	var err error
	switch value := value.(type) {
	case map[string]any:
		for key := range value {
			if value[key], err = p.fillIn(value[key]); err != nil {
				return nil, err
			}
		}
	case []any:
		for i := range value {
			if value[i], err = p.fillIn(value[i]); err != nil {
				return nil, err
			}
		}
	case string:
		if kept, ok := p.kept[value]; ok {
			return kept, nil
		}
		filled := strings.ReplaceAll(value, "${directory}", p.kept["${directory}"])
		if strings.HasPrefix(filled, "$") {
			return nil, fmt.Errorf("nothing was kept as %s", filled)
		}
		return filled, nil
	}
	return value, nil
}

// asExample is an error as examples have it.
func asExample(e *jobengine.Error) map[string]any {
	var fields []any
	for _, violation := range e.Violations {
		fields = append(fields, violation.Field)
	}
	slices.SortFunc(fields, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	metadata := map[string]any{}
	for key, value := range e.Metadata {
		metadata[key] = value
	}
	return map[string]any{
		"kind":     string(e.Kind),
		"code":     code.Code_name[int32(e.Code)],
		"reason":   e.Reason,
		"fields":   fields,
		"metadata": metadata,
	}
}
