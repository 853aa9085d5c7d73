package ordeal

import (
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"
)

// pulse finds out how well the machine lets this process run, so that what it holds up is
// not taken for what the gateway does.
type pulse struct {
	began   time.Time
	waiting time.Duration // of the machine, until then

	mu     sync.Mutex
	stalls []stall
}

// A stall is a time in which nothing ran.
type stall struct{ from, to time.Time }

const (
	pulseEvery = 5 * time.Millisecond
	stallFrom  = 20 * time.Millisecond // one of this length is reported
)

// newPulse beats until the test ends.
func newPulse(t testing.TB) *pulse {
	p := &pulse{began: time.Now(), waiting: waiting()}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		p.beat(stop)
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
	})
	return p
}

func (p *pulse) beat(stop <-chan struct{}) {
	tick := time.NewTicker(pulseEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		now := time.Now()
		if now.Sub(last) >= stallFrom+pulseEvery {
			p.mu.Lock()
			p.stalls = append(p.stalls, stall{last, now})
			p.mu.Unlock()
		}
		last = now
	}
}

// worst is the longest stall that touches a time span.
func (p *pulse) worst(from, to time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var worst time.Duration
	for _, s := range p.stalls {
		if s.to.After(from) && s.from.Before(to) {
			worst = max(worst, s.to.Sub(s.from))
		}
	}
	return worst
}

var someTotal = regexp.MustCompile(`(?m)^some .* total=(\d+)$`)

// waiting is for how long something that could run has waited for a processor since the
// machine started; 0 where the kernel does not tell.
func waiting() time.Duration {
	text, err := os.ReadFile("/proc/pressure/cpu")
	if err != nil {
		return 0
	}
	m := someTotal.FindSubmatch(text)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(m[1]), 10, 64) // they are digits
	return time.Duration(n) * time.Microsecond
}

// busy is in which part of the time something waited for a processor: near 1, others
// use the machine too.
func (p *pulse) busy() float64 {
	share := float64(waiting()-p.waiting) / float64(time.Since(p.began))
	return float64(int(100*share)) / 100
}
