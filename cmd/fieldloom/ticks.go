package main

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
)

const (
	flushEvery = 100 * time.Millisecond
	drawEvery  = 250 * time.Millisecond
)

// watching is a stream of samples that also yields a nil sample whenever nothing
// came for a while, so that a reader can flush or draw. It ends with the stream or
// with ctx.
func watching(ctx context.Context, c *client.Client, o client.WatchOptions, idle time.Duration) iter.Seq2[*client.Sample, error] {
	type item struct {
		sample client.Sample
		err    error
	}
	return func(yield func(*client.Sample, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		items := make(chan item, 1024)
		var pump sync.WaitGroup
		defer pump.Wait()
		defer cancel()
		pump.Go(func() {
			defer close(items)
			for sample, err := range c.Watch(ctx, o) {
				select {
				case items <- item{sample, err}:
				case <-ctx.Done():
					return
				}
			}
		})
		tick := time.NewTicker(idle)
		defer tick.Stop()
		for {
			select {
			case i, open := <-items:
				if !open || !yield(&i.sample, i.err) {
					return
				}
			case <-tick.C:
				if !yield(nil, nil) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}
