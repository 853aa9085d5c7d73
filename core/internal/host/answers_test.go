package host

import (
	"testing"
	"testing/synctest"
	"time"
)

// However much a process asks, it gets questionRate answers a second in the long run, and a
// start of many links is not held up.
func TestPaceOfQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a answerer
		began := time.Now()
		ask := func(n int) {
			for range n {
				if err := a.pace(t.Context(), time.Now()); err != nil {
					t.Fatal(err)
				}
			}
		}
		ask(questionBurst)
		if took := time.Since(began); took != 0 {
			t.Errorf("the first %d were held up for %v", questionBurst, took)
		}
		ask(10 * questionRate)
		if took := time.Since(began); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("10 s of questions at the rate took %v", took)
		}
		time.Sleep(time.Second)
		again := time.Now()
		ask(questionRate)
		if took := time.Since(again); took > 0 {
			t.Errorf("after a second's rest they were held up for %v", took)
		}
	})
}
