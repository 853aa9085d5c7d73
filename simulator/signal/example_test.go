package signal_test

import (
	"fmt"
	"time"

	"github.com/fieldloom/fieldloom/simulator/signal"
)

// A signal is asked what it is at a time.
func Example() {
	level := signal.Ramp(0, 50, time.Minute)
	for _, at := range []time.Duration{0, 30 * time.Second, 60 * time.Second} {
		fmt.Println(at, level.At(at, 0))
	}
	// Output:
	// 0s 0
	// 30s 25
	// 1m0s 0
}
