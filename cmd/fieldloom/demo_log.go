package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
)

// demoLog counts what is wrong in the gateway's log and keeps the last of it.
type demoLog struct {
	path string

	mu      sync.Mutex
	wrong   int
	message string
}

// handler writes everything from info on to all, and what is wrong to people too.
func (l *demoLog) handler(all, people io.Writer) slog.Handler {
	return &demoHandler{
		log:    l,
		all:    slog.NewTextHandler(all, &slog.HandlerOptions{Level: slog.LevelInfo}),
		people: slog.NewTextHandler(people, &slog.HandlerOptions{Level: slog.LevelWarn}),
	}
}

func (l *demoLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wrong
}

// last is the last line at warn or above.
func (l *demoLog) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.message
}

func (l *demoLog) note(r slog.Record) {
	if r.Level < slog.LevelWarn {
		return
	}
	text := r.Time.Format("15:04:05 ") + r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong++
	l.message = text
}

// demoHandler hands records to two others.
type demoHandler struct {
	log         *demoLog
	all, people slog.Handler
}

// Enabled implements slog.Handler.
func (h *demoHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.all.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *demoHandler) Handle(ctx context.Context, r slog.Record) error {
	h.log.note(r)
	err := h.all.Handle(ctx, r)
	if h.people.Enabled(ctx, r.Level) {
		err = errors.Join(err, h.people.Handle(ctx, r))
	}
	return err
}

// WithAttrs implements slog.Handler.
func (h *demoHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &demoHandler{h.log, h.all.WithAttrs(attrs), h.people.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h *demoHandler) WithGroup(name string) slog.Handler {
	return &demoHandler{h.log, h.all.WithGroup(name), h.people.WithGroup(name)}
}
