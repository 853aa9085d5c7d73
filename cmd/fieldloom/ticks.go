package main

import (
	"context"
	"time"
)

const drawEvery = 250 * time.Millisecond

// ticking calls work in a goroutine, which it waits for, and tick from time to time until
// work has returned. It returns work's error.
func ticking(ctx context.Context, every time.Duration, work func(ctx context.Context) error, tick func()) error {
	ended := make(chan error, 1)
	go func() { ended <- work(ctx) }()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-ticker.C:
			tick()
		}
	}
}
