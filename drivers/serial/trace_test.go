package serial_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/serial"
)

// written is a buffer for many writers.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// At level debug what goes over the line is in the log, with its device; at info nothing is.
func TestDebugShowsTheLines(t *testing.T) {
	i := newInstrument(t, func(string) string { return "21.5\r\n" })
	var out written
	var level slog.LevelVar
	l, err := serial.New().Open(t.Context(), driver.LinkConfig{Name: "line", Timeout: patience,
		Settings: settings(t, `{"port": "`+i.path+`"}`)},
		driver.Env{Log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: &level}))})
	check(t, err)
	t.Cleanup(func() { check(t, l.Close(context.Background())) })
	read := reader(t, l, config(t, `{"requests": {"m": {"send": "MEAS?"}}}`, "m:0"))
	for _, on := range []bool{false, true} {
		if on {
			level.Set(slog.LevelDebug)
		}
		_, err = read()
		check(t, err)
		if !on && out.String() != "" {
			t.Errorf("at level info:\n%s", out.String())
		}
	}
	if s := out.String(); !strings.Contains(s, `msg=sent device=dev length=7 bytes=4d4541533f0d0a text="MEAS?\r\n"`) ||
		!strings.Contains(s, `msg=received device=dev length=`) || !strings.Contains(s, "21.5") {
		t.Errorf("log:\n%s", s)
	}
}
