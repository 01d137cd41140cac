// Package jobengine runs commands and containers as jobs on a job engine's server.
//
// A [Client] starts jobs, follows them to their end over one stream, and reads their output.
// The messages are those of package jobenginev1, in the folder v1 beside this one.
//
// # Deadlines
//
// A call with one answer takes at most 30 s ([WithTimeout]), retries included, unless its
// context has a deadline: then that one counts, be it sooner or later. [Client.WatchStatus],
// [Client.WatchJobs], [Client.Logs] and [Client.Wait] take as long as their context allows.
//
// # Streams
//
// Streams are iterators, which begin a call of their own with each range loop:
//
//	for event, err := range client.WatchStatus(ctx, "nightly", jobengine.WatchStatusOptions{}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(jobengine.StateName(event.GetStatus()))
//	}
//
// An error comes last, with a nil message. Leaving the loop, or cancelling the context, ends
// the call at once.
//
// # Errors
//
// A job that fails is no error: its status says so. All errors of calls are of type [*Error],
// and match one of the kinds with [errors.Is]:
//
//	if errors.Is(err, jobengine.ErrJobNotFound) { ... }
package jobengine
