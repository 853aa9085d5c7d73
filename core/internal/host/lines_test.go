package host_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/internal/host"
)

// pumped returns what the pump makes of text, without the times.
func pumped(text string) []string {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	host.PumpLines(log.With("driver", "d"), strings.NewReader(text), 20)
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

func TestLinesBecomeRecords(t *testing.T) {
	for line, want := range map[string]string{
		"hello":                      `level=INFO msg=hello driver=d from=stderr`,
		"panic: oops":                `level=ERROR msg="panic: oops" driver=d from=stderr`,
		"bad \xff":                   "level=INFO msg=\"bad \uFFFD\" driver=d from=stderr",
		`{"@message":1}`:             `level=INFO msg="{\"@message\":1}" driver=d from=stderr`,
		`{"msg":null}`:               `level=INFO msg="{\"msg\":null}" driver=d from=stderr`,
		`{"msg":"m","level":"WARN"}`: `level=WARN msg=m driver=d`,
		`{"msg":"m","level":7}`:      `level=INFO msg=m driver=d`,
		`{"@message":"m","@level":"trace","@module":"x"}`:       `level=DEBUG msg=m driver=d`,
		`{"msg":"m","driver":"forged","pid":1}`:                 `level=INFO msg=m driver=d`,
		`{"msg":"m","b":"text","a":1.5,"c":{"x":[1]},"d":null}`: `level=INFO msg=m driver=d a=1.5 b=text c="{\"x\":[1]}" d=null`,
	} {
		if diff := cmp.Diff([]string{want}, pumped(line+"\n")); diff != "" {
			t.Errorf("%s: %s", line, diff)
		}
	}
}

func TestLongLineIsCut(t *testing.T) {
	got := pumped(strings.Repeat("x", 100000) + "\nnext\nwithout an end")
	if len(got) != 3 || len(got[0]) > 5000 || !strings.HasSuffix(got[0], "cut=true") {
		t.Fatalf("%d lines, the first of %d bytes", len(got), len(got[0]))
	}
	if !strings.Contains(got[1], "msg=next") || !strings.Contains(got[2], `msg="without an end"`) {
		t.Errorf("after a line that was cut: %q", got[1:])
	}
}

func TestLinesAreLimitedInRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := io.Pipe()
		go func() {
			defer to.Close()
			for second := range 10 {
				for i := range 5000 {
					fmt.Fprintf(to, "line %d.%d\n", second, i)
				}
				<-time.After(time.Second)
			}
			<-time.After(time.Minute)
			fmt.Fprintln(to, "after a minute")
		}()
		var out bytes.Buffer
		last := host.PumpLines(slog.New(slog.NewTextHandler(&out, nil)), from, 2)
		if n := strings.Count(out.String(), "\n"); n < 1000+9*100 || n > 1000+11*100 {
			t.Errorf("%d lines logged of 50,000 in 10 s", n)
		}
		if !strings.Contains(out.String(), "lines=4000") || !strings.Contains(out.String(), "after a minute") {
			t.Error("what was left out is not counted, or the pump did not recover")
		}
		if diff := cmp.Diff([]string{"line 9.4999", "after a minute"}, last); diff != "" {
			t.Error(diff)
		}
	})
}

// What is left out of a flood is counted when the flood is over, and its last lines
// are heard, also where the driver then writes nothing more, or dies.
func TestTheEndOfAFloodIsHeard(t *testing.T) {
	for name, lives := range map[string]bool{"the driver is silent": true, "the driver dies": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				from, to := io.Pipe()
				var mu sync.Mutex
				var heard []string
				done := make(chan struct{})
				go func() {
					defer close(done)
					host.HearLines(from, func(l host.Line) {
						mu.Lock()
						defer mu.Unlock()
						heard = append(heard, l.Text)
					})
				}()
				for i := range 5000 {
					fmt.Fprintf(to, "line %d\n", i)
				}
				if lives {
					time.Sleep(2 * time.Second)
				} else {
					to.Close()
					<-done
				}
				mu.Lock()
				n := len(heard)
				if n != 1201 || heard[1000] != "3800 lines are left out: the driver writes too many" || heard[1001] != "line 4800" || heard[1200] != "line 4999" {
					t.Errorf("%d lines heard: %q to %q", n, heard[1000], heard[n-1])
				}
				mu.Unlock()
				to.Close()
				<-done
			})
		})
	}
}

func TestFirstLineOfAPanicIsKept(t *testing.T) {
	text := "before\npanic: the cause\n" + strings.Repeat("goroutine\n", 100)
	want := []string{"panic: the cause", "goroutine", "goroutine"}
	got := host.PumpLines(slog.New(slog.DiscardHandler), strings.NewReader(text), 3)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
