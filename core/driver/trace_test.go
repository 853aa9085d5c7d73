package driver_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/driver"
)

func TestLogBytes(t *testing.T) {
	for what, c := range map[string]struct {
		in   []byte
		want string
	}{
		"a frame":           {[]byte{0, 1, 0, 0, 0, 6}, `length=6 bytes=000100000006`},
		"text":              {[]byte("MEAS?\r\n"), `length=7 bytes=4d4541533f0d0a text="MEAS?\r\n"`},
		"a terminal's code": {[]byte("\x1b[2J"), `length=4 bytes=1b5b324a`},
		"no UTF-8":          {[]byte("a\xff"), `length=2 bytes=61ff`},
		"turned text":       {[]byte("a\u202eb"), `length=5 bytes=61e280ae62`},
		"nothing":           {nil, `length=0 bytes=""`},
	} {
		var out bytes.Buffer
		driver.LogBytes(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), "sent", "m1", c.in)
		if _, got, _ := strings.Cut(strings.TrimSpace(out.String()), "msg=sent device=m1 "); got != c.want {
			t.Errorf("%s: %s, want %s", what, got, c.want)
		}
	}
	var out bytes.Buffer
	driver.LogBytes(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), "sent", "", make([]byte, 1<<20))
	if n := out.Len(); n > 1000 || !strings.Contains(out.String(), "length=1048576 ") {
		t.Errorf("a megabyte is %d bytes in the log", n)
	}
}

func TestLogBytesCostsNothingWhenOff(t *testing.T) {
	log := slog.New(slog.NewJSONHandler(&bytes.Buffer{}, nil)).With("link", "l")
	b := []byte("what crossed the wire")
	for _, log := range []*slog.Logger{nil, log} {
		if n := testing.AllocsPerRun(100, func() { driver.LogBytes(log, "sent", "m1", b) }); n > 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func BenchmarkLogBytesOff(b *testing.B) {
	log := slog.New(slog.NewJSONHandler(&bytes.Buffer{}, nil)).With("link", "l")
	frame := make([]byte, 260)
	b.ReportAllocs()
	for b.Loop() {
		driver.LogBytes(log, "sent", "m1", frame)
	}
}
