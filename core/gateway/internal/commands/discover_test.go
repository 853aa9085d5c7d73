package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/audit"
)

// street answers a Discover of the plane.
type street struct {
	control.Plane
	answer func(c driver.Candidate) (*driver.Entry, int, error)
	asked  []string
}

func (s *street) Discover(_ context.Context, _ string, c driver.Candidate) (*driver.Entry, int, error) {
	s.asked = append(s.asked, fmt.Sprintf("%d%v", c.Number, map[bool]string{true: "?"}[c.Identify]))
	return s.answer(c)
}

// search discovers line1 of the plant, and returns the lines and what the audit log has.
func search(t *testing.T, ctx context.Context, s *street, o client.DiscoverOptions) (lines, kept []string, err error) {
	t.Helper()
	dir := t.TempDir()
	log, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	service := &Service{InForce: inforce.NewCurrent(plant().Config, time.Now()), Audit: log, Log: slog.New(slog.DiscardHandler),
		ControlOf: func(string, string) (control.Plane, error) { return s, nil }}
	o.Link = "line1"
	if o.Timeout == 0 {
		service.InForce.Get().Links[0].Timeout = time.Second
	}
	err = service.Discover(ctx, o, func(d client.Discovery) error {
		line := fmt.Sprintf("%d/%d", d.Done, d.Of)
		if d.Found != nil {
			line += " " + strings.Join(strings.Fields(d.Found.Address+" "+d.Found.Name+" "+d.Found.Value), " ")
		}
		lines = append(lines, line)
		return nil
	})
	if closed := log.Close(); closed != nil {
		t.Fatal(closed)
	}
	if _, err := audit.Read(dir, func(e *audit.Entry) error {
		kept = append(kept, fmt.Sprintf("%s %s %s: %s", e.Action, e.Point, e.New, e.Result))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return lines, kept, err
}

func TestDiscoverAsksOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &street{answer: func(c driver.Candidate) (*driver.Entry, int, error) {
			switch {
			case c.Number != 1:
				return nil, 3, nil
			case c.Identify:
				return &driver.Entry{Name: "a pump"}, 3, nil
			}
			return &driver.Entry{Address: "unit 2", Value: "it answers"}, 3, nil
		}}
		lines, kept, err := search(t, t.Context(), s, client.DiscoverOptions{Within: "1-3"})
		if diff := cmp.Diff([]string{"1/3", "2/3 unit 2 a pump it answers", "3/3"}, lines); diff != "" || err != nil {
			t.Error(diff, err)
		}
		if diff := cmp.Diff([]string{`discover line1 "1-3": asked`, `discover line1 "1-3": found 1 of 3`}, kept); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"0", "1", "1?", "2"}, s.asked); diff != "" {
			t.Error(diff)
		}
	})
}

// A link that is opened again meanwhile is waited for; one that stays away ends the discovery.
func TestDiscoverOutlastsAReconnection(t *testing.T) {
	for away, want := range map[time.Duration]string{20 * time.Second: "", 10 * time.Minute: "discover line1: candidate 2: gone"} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			s := &street{answer: func(c driver.Candidate) (*driver.Entry, int, error) {
				if c.Number == 1 && time.Since(began) < away {
					return nil, 0, driver.Errorf(driver.NotConnected, "gone")
				}
				return nil, 2, nil
			}}
			lines, kept, err := search(t, t.Context(), s, client.DiscoverOptions{})
			switch took := time.Since(began); {
			case want == "" && (err != nil || len(lines) != 2 || took > away+2*time.Second):
				t.Errorf("%v after %v: %v", lines, took, err)
			case want != "" && (err == nil || err.Error() != want || len(lines) != 1 || took > stepPatience+2*time.Second || !strings.HasSuffix(kept[1], "found 0 of 1: "+want)):
				t.Errorf("%v after %v: %v, kept %v", lines, took, err, kept)
			}
		})
	}
}

// What cannot begin is told at once, and is kept by nobody.
func TestDiscoverThatCannotBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fault := range []*driver.Error{
			driver.Errorf(driver.Unsupported, "it cannot"), driver.Errorf(driver.BadValue, "no such place"),
			driver.Errorf(driver.Denied, "off line"), driver.Errorf(driver.NotConnected, "down"),
		} {
			s := &street{answer: func(driver.Candidate) (*driver.Entry, int, error) { return nil, 0, fault }}
			began := time.Now()
			lines, kept, err := search(t, t.Context(), s, client.DiscoverOptions{})
			if driver.CodeOf(err) != fault.Code || len(lines)+len(kept) > 0 || len(s.asked) != 1 || time.Since(began) > 0 {
				t.Errorf("%v: %v, %v, kept %v, asked %v", fault, err, lines, kept, s.asked)
			}
		}
		s := &street{}
		for _, o := range []client.DiscoverOptions{{Timeout: time.Hour}, {Timeout: -1}, {Within: strings.Repeat("1,", 1000)}} {
			if _, _, err := search(t, t.Context(), s, o); driver.CodeOf(err) != driver.BadValue || len(s.asked) > 0 {
				t.Errorf("%v: %v, asked %v", o, err, s.asked)
			}
		}
	})
}

func TestDiscoverEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &street{}
		s.answer = func(c driver.Candidate) (*driver.Entry, int, error) {
			if c.Number == 4 {
				cancel()
			}
			return nil, 1000, nil
		}
		_, kept, err := search(t, ctx, s, client.DiscoverOptions{})
		if !errors.Is(err, context.Canceled) || len(s.asked) != 5 || !strings.HasSuffix(kept[1], "found 0 of 5: context canceled") {
			t.Errorf("%v, asked %v, kept %v", err, s.asked, kept)
		}
	})
}

func TestOneDiscoveryOfALink(t *testing.T) {
	var d discoveries
	if !d.begin("a") || d.begin("a") || !d.begin("b") {
		t.Error("one at a time on each link")
	}
	d.end("a")
	if !d.begin("a") {
		t.Error("the next may not begin")
	}
}
