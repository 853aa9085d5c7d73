package mqtt_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/mqtt"
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

// At level debug topics and payloads are in the log, with the device; a password never is.
func TestDebugShowsTheMessages(t *testing.T) {
	b := startBroker(t, &rules{login: func(user, password string) bool { return user == "u" && password == "geheim" }})
	var out written
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	l, err := mqtt.New().Open(t.Context(), driver.LinkConfig{Name: "l", Timeout: patience,
		Settings: settings(t, "broker", b.url(), "username", "u", "password", "geheim")}, driver.Env{Log: log})
	check(t, err)
	t.Cleanup(func() { check(t, l.Close(context.Background())) })
	cfg := device("pump", "a/b set=a/set")
	d, err := l.Device(t.Context(), cfg)
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	came := make(chan struct{}, 10)
	var sub sync.WaitGroup
	sub.Go(func() {
		_ = d.(driver.Subscriber).Subscribe(ctx, cfg.Points, func(context.Context, []driver.PointSample, func()) error {
			came <- struct{}{}
			return nil
		})
	})
	b.awaitSubscribed("a/b")
	b.publish("a/b", "21.5", false)
	<-came
	check(t, d.(driver.Writer).Write(t.Context(), cfg.Points[0], driver.StringValue("on")))
	cancel()
	sub.Wait()
	s := out.String()
	for _, want := range []string{"sent a subscription", "filters=[a/b]", "msg=received topic=a/b", "device=pump length=4 bytes=32312e35 text=21.5",
		"msg=sent topic=a/set", "device=pump length=2 bytes=6f6e text=on"} {
		if !strings.Contains(s, want) {
			t.Errorf("no %q in\n%s", want, s)
		}
	}
	if strings.Contains(s, "geheim") || strings.Contains(s, "67656865696d") {
		t.Errorf("the password is in the log:\n%s", s)
	}
}
