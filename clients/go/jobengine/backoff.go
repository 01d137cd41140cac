package jobengine

import (
	"math/rand/v2"
	"time"
)

const (
	firstDelay = 100 * time.Millisecond
	maxDelay   = 10 * time.Second
)

// backoff gives the delays between the attempts at one thing, until the time for it runs out.
type backoff struct {
	budget       time.Duration
	longest      time.Duration
	failingSince time.Time
}

func newBackoff(budget time.Duration) *backoff {
	return &backoff{budget: budget}
}

// succeeded begins anew, with this budget for the next series of failures.
func (b *backoff) succeeded(budget time.Duration) {
	*b = backoff{budget: budget}
}

// next returns how long to wait after the failure just seen, at least as long as the server asks
// for. False: it is time to give up.
func (b *backoff) next(atLeast *time.Duration) (time.Duration, bool) {
	now := time.Now()
	if b.longest == 0 {
		b.failingSince = now
		b.longest = firstDelay
	} else {
		b.longest = min(2*b.longest, maxDelay)
	}
	delay := b.longest/2 + rand.N(b.longest/2+1)
	if atLeast != nil {
		delay = max(delay, *atLeast)
	}
	return delay, now.Add(delay).Sub(b.failingSince) <= b.budget
}
