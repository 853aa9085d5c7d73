package supervise_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

func TestLogsOutliveTheProcessesThatWroteThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newPool(t, func(o *supervise.Options) { o.LogLines = 10 })
		defer r.s.Close(false)
		if r.s.Logs("fake", 5) != nil {
			t.Error("lines of a driver that there is not")
		}
		r.set(1)
		p := <-r.starts
		time.Sleep(time.Second)
		r.spec(0).OnLine(host.Line{Text: "one"})
		_, follower, err := r.s.Follow("fake", 0)
		if err != nil {
			t.Fatal(err)
		}
		defer follower.Close()
		p.die("killed")
		time.Sleep(time.Second)
		r.spec(1).OnLine(host.Line{Text: "two"})
		if got := texts(r.s.Logs("fake", 5)); got != "one two" {
			t.Errorf("lines %q", got)
		}
		for range 300 {
			r.spec(1).OnLine(host.Line{Text: "more"})
		}
		if got := r.s.Logs("fake", 500); len(got) != 10 {
			t.Errorf("%d lines are kept", len(got))
		}
		line, dropped, err := follower.Next(t.Context())
		if err != nil || line.Text != "two" || dropped != 301-256 {
			t.Errorf("followed %q with %d dropped, %v", line.Text, dropped, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 255 {
			if _, dropped, err = follower.Next(t.Context()); err != nil || dropped != 0 {
				t.Fatal(dropped, err)
			}
		}
		if _, _, err = follower.Next(ctx); err == nil {
			t.Error("a line from nowhere")
		}
		for range 1000 {
			r.spec(1).OnLine(host.Line{Text: strings.Repeat("x", 4<<10)})
		}
		for range 15 {
			if last, _, err := r.s.Follow("fake", 2); err != nil || len(last) != 2 {
				t.Error(err)
			}
		}
		if _, _, err := r.s.Follow("fake", 0); err == nil {
			t.Error("followers without a bound")
		}
		if _, _, err := r.s.Follow("none", 0); err == nil {
			t.Error("a driver that there is not was followed")
		}
	})
}

func texts(lines []host.Line) string {
	var list []string
	for _, line := range lines {
		list = append(list, line.Text)
	}
	return strings.Join(list, " ")
}
