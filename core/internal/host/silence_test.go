package host_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/host"
)

func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		s := host.NewSilence(5*time.Second, func() { ended <- time.Now() })
		s.Begin()
		time.Sleep(4900 * time.Millisecond)
		s.Over()
		time.Sleep(time.Minute) // what came takes its time
		began := time.Now()
		s.Begin()
		if at := <-ended; at.Sub(began) != 5*time.Second {
			t.Errorf("it ended after %v", at.Sub(began))
		}
		s.Over()
		s.Begin()
		s.Over()
	})
}
