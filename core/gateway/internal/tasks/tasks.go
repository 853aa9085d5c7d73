// Package tasks has what goes on in a gateway without its caller.
package tasks

import (
	"context"
	"sync"
)

// A Group is pieces of work that go on when their caller goes, and end with the gateway,
// which waits for them. Its methods may be called concurrently; nothing begins before Start.
type Group struct {
	work sync.WaitGroup

	mu   sync.Mutex
	life context.Context // the gateway's; nil: nothing may begin
}

// Start lets work begin, which ctx bounds.
func (g *Group) Start(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.life = ctx
}

// Begin makes the gateway wait for a piece of work, which ctx bounds, until done is called.
// It is false once the gateway ends.
func (g *Group) Begin() (ctx context.Context, done func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.life == nil {
		return nil, nil, false
	}
	g.work.Add(1)
	return g.life, g.work.Done, true
}

// Go runs f until the gateway ends.
func (g *Group) Go(f func(ctx context.Context)) {
	ctx, done, ok := g.Begin()
	if !ok {
		return
	}
	go func() {
		defer done()
		f(ctx)
	}()
}

// End lets nothing begin any more, and waits.
func (g *Group) End() {
	g.mu.Lock()
	g.life = nil
	g.mu.Unlock()
	g.work.Wait()
}
