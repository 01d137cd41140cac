package jobengine

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestDelaysGrowToALimitAndAreJittered(t *testing.T) {
	attempts := newBackoff(time.Hour)
	longest := firstDelay
	seen := map[time.Duration]bool{}
	for range 40 {
		delay, ok := attempts.next(nil)
		if !ok || delay < longest/2 || delay > longest {
			t.Fatalf("delay %v, %v; want one of %v to %v", delay, ok, longest/2, longest)
		}
		seen[delay] = true
		longest = min(2*longest, maxDelay)
	}
	if len(seen) < 35 {
		t.Errorf("only %d different delays of 40", len(seen))
	}
}

func TestServerMayAskForALongerDelay(t *testing.T) {
	if delay, ok := newBackoff(time.Minute).next(new(3 * time.Second)); delay != 3*time.Second || !ok {
		t.Errorf("delay %v, %v", delay, ok)
	}
}

func TestDelayBeyondTheBudgetMeansGivingUp(t *testing.T) {
	if _, ok := newBackoff(2 * time.Second).next(new(3 * time.Second)); ok {
		t.Error("goes on")
	}
}

func TestBudgetIsMeasuredFromTheFirstFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := newBackoff(time.Minute)
		begin := time.Now()
		for {
			delay, ok := attempts.next(nil)
			if !ok {
				break
			}
			time.Sleep(delay)
		}
		if took := time.Since(begin); took < 50*time.Second || took > time.Minute {
			t.Errorf("gave up after %v", took)
		}
	})
}

func TestSuccessBeginsAnew(t *testing.T) {
	attempts := newBackoff(0)
	if _, ok := attempts.next(nil); ok {
		t.Error("goes on without a budget")
	}
	attempts.succeeded(time.Minute)
	if delay, ok := attempts.next(nil); !ok || delay > firstDelay {
		t.Errorf("delay %v, %v", delay, ok)
	}
}
