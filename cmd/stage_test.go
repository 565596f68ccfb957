package cmd

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func untilStopped(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// What ends a node is said once, however many parts saw it.
func TestStagesTellEachFailureOnce(t *testing.T) {
	s, last := newStage(t.Context()), newStage(t.Context())
	last.start("plugins", untilStopped)
	s.start("engine", untilStopped)
	s.start("web", func(context.Context) error { return errors.New("the port is gone") })
	<-s.failed
	if err := stopStages(t.Context(), s, last); err == nil || err.Error() != "web ended: the port is gone" {
		t.Errorf("got %v, want it told once", err)
	}
	s = newStage(t.Context())
	s.start("web", func(context.Context) error { return nil })
	<-s.failed
	if err := stopStages(t.Context(), s); !errors.Is(err, errEnded) {
		t.Errorf("got %v, want %v", err, errEnded)
	}
}

func TestStopNamesWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s, last := newStage(t.Context()), newStage(t.Context())
		s.start("engine", untilStopped)
		s.start("delivery", func(context.Context) error { <-release; return nil })
		last.start("plugins", func(context.Context) error { <-release; return nil })
		ctx, cancel := context.WithTimeout(t.Context(), stopTimeout)
		defer cancel()
		err := stopStages(ctx, s, last)
		if want := "the stop took longer than 9s: delivery did not end"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		close(release)
		synctest.Wait()
	})
}
