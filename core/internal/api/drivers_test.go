package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
)

// patience bounds waits; it finds a hang, not slowness.
const patience = 10 * time.Second

// fakeDrivers notes what it is asked, and answers with fail where that is set.
type fakeDrivers struct {
	said  []string
	fail  error
	late  error // of a stream, after its first line
	lines int
	line  chan struct{} // of Logs with follow, each value a line
	steps int           // of Upgrade, beside the first and the last
	told  chan struct{} // closed when the last but one was told; may be nil
}

func (f *fakeDrivers) note(format string, args ...any) {
	f.said = append(f.said, fmt.Sprintf(format, args...))
}

func (f *fakeDrivers) Packages(context.Context) ([]client.Package, error) {
	return []client.Package{{Driver: "modbus", Version: "1.2.0", Serial: 7, Active: true, State: "verified"}}, f.fail
}

func (f *fakeDrivers) Install(_ context.Context, archive io.Reader) (client.Package, error) {
	data, err := io.ReadAll(archive)
	f.note("install %d", len(data))
	return client.Package{Driver: "modbus"}, errors.Join(err, f.fail)
}

func (f *fakeDrivers) Remove(_ context.Context, driver, version string, force bool) (client.DriverChange, error) {
	f.note("remove %s %s %v", driver, version, force)
	return client.DriverChange{Driver: driver}, f.fail
}

func (f *fakeDrivers) Enable(_ context.Context, driver string) (client.DriverChange, error) {
	f.note("enable %s", driver)
	return client.DriverChange{Driver: driver}, f.fail
}

func (f *fakeDrivers) Disable(_ context.Context, driver string) (client.DriverChange, error) {
	f.note("disable %s", driver)
	return client.DriverChange{Driver: driver}, f.fail
}

func (f *fakeDrivers) SetLevel(_ context.Context, driver, level string) (client.DriverChange, error) {
	f.note("level %s %s", driver, level)
	return client.DriverChange{Driver: driver}, f.fail
}

func (f *fakeDrivers) Upgrade(_ context.Context, driver, version string, step func(client.Step)) error {
	f.note("upgrade %s %s", driver, version)
	if f.fail != nil {
		return f.fail
	}
	step(client.Step{Name: "start", Of: 2})
	for range f.steps {
		step(client.Step{Text: strings.Repeat("x", 1<<10)})
	}
	if f.told != nil {
		close(f.told)
	}
	step(client.Step{Name: "done", Done: 2, Of: 2, Final: true, Version: version})
	return f.late
}

func (f *fakeDrivers) Rollback(_ context.Context, driver, version string, step func(client.Step)) error {
	f.note("rollback %s %s", driver, version)
	step(client.Step{Name: "done", Final: true})
	return f.fail
}

func (f *fakeDrivers) Logs(ctx context.Context, driver string, n int, follow bool, each func(client.LogLine) error) error {
	f.note("logs %s %d %v", driver, n, follow)
	for i := range f.lines {
		if err := each(client.LogLine{PID: i}); err != nil {
			return err
		}
	}
	for f.fail == nil && follow {
		select {
		case <-f.line:
			if err := each(client.LogLine{Text: "late"}); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return f.fail
}

func (f *fakeDrivers) Events(_ context.Context, n int, follow bool, each func(client.Event) error) error {
	f.note("events %d %v", n, follow)
	return errors.Join(each(client.Event{Driver: "modbus", To: "active"}), f.fail)
}

func (f *fakeDrivers) Offline(_ context.Context, r client.LineRequest) ([]client.LineResult, error) {
	f.note("offline %v %s", r.Names, r.Driver)
	return []client.LineResult{{Name: "l"}}, f.fail
}

func (f *fakeDrivers) Online(_ context.Context, r client.LineRequest) ([]client.LineResult, error) {
	f.note("online %v %s", r.Names, r.Driver)
	return []client.LineResult{{Name: "l", Fault: &client.Fault{Code: "timeout", Text: "no answer"}}}, f.fail
}

func (f *fakeDrivers) Stop(drivers bool) { f.note("stop %v", drivers) }

// An upgrade does not wait for somebody who asked for it and does not read: a terminal that
// was stopped would leave its links between two versions.
func TestAnUpgradeDoesNotWaitForItsReader(t *testing.T) {
	f := &fake{}
	f.steps, f.told = 5000, make(chan struct{})
	_, socket := serve(t, f)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /v1/drivers/modbus/upgrade HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-f.told:
	case <-time.After(patience):
		t.Fatal("it waits")
	}
}

func TestDriverCommandsArriveWhole(t *testing.T) {
	f := &fake{}
	c, _ := serve(t, f)
	ctx := t.Context()
	var errs []error
	keep := func(_ any, err error) { errs = append(errs, err) }
	keep(c.Packages(ctx))
	keep(c.Install(ctx, strings.NewReader(strings.Repeat("x", 3<<20))))
	keep(c.Remove(ctx, "modbus", "", true))
	keep(c.Remove(ctx, "modbus", "1.0.0+b/ü", false))
	keep(c.Enable(ctx, "modbus"))
	keep(c.Disable(ctx, "modbus"))
	keep(c.SetLevel(ctx, "modbus", "debug"))
	keep(c.Offline(ctx, client.LineRequest{Names: []string{"a", "b/c"}}))
	results, err := c.Online(ctx, client.LineRequest{Driver: "modbus"})
	if len(results) != 1 || results[0].Fault == nil || *results[0].Fault != (client.Fault{Code: "timeout", Text: "no answer"}) {
		t.Errorf("online: %+v", results)
	}
	keep(results, err)
	keep(c.Stop(ctx, true))
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	want := []string{"install 3145728", "remove modbus  true", "remove modbus 1.0.0+b/ü false", "enable modbus", "disable modbus", "level modbus debug",
		"offline [a b/c] ", "online [] modbus", "stop true"}
	if diff := cmp.Diff(want, f.said); diff != "" {
		t.Error(diff)
	}
}

func TestStepsComeAsTheyHappen(t *testing.T) {
	f := &fake{fakeDrivers: fakeDrivers{late: errors.New("told in the last step")}}
	c, _ := serve(t, f)
	var names []string
	for s, err := range c.Upgrade(t.Context(), "modbus", "2.0.0") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, s.Name)
	}
	if diff := cmp.Diff([]string{"start", "done"}, names); diff != "" {
		t.Error(diff)
	}
	for _, err := range c.Rollback(t.Context(), "modbus", "") {
		if err != nil {
			t.Error(err)
		}
	}
	f.fail = driver.Errorf(driver.NotFound, "there is no driver x")
	for s, err := range c.Upgrade(t.Context(), "x", "") {
		var e *client.Error
		if !errors.As(err, &e) || e.Status != 404 || e.Detail != "there is no driver x" {
			t.Errorf("step %+v, %v", s, err)
		}
	}
}

func TestLogsFollow(t *testing.T) {
	f := &fake{fakeDrivers: fakeDrivers{lines: 3, line: make(chan struct{}, 1)}}
	c, _ := serve(t, f)
	n := 0
	for l, err := range c.Logs(t.Context(), "modbus", 3, true) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 3 {
			f.line <- struct{}{}
		}
		if n == 4 {
			if l.Text != "late" {
				t.Errorf("%+v", l)
			}
			break
		}
	}
	f.lines = 0
	for range c.Logs(t.Context(), "modbus", 10, false) {
		t.Error("a line came of a driver that has none")
	}
	if diff := cmp.Diff([]string{"logs modbus 3 true", "logs modbus 10 false"}, f.said); diff != "" {
		t.Error(diff)
	}
}

// ask sends bytes to the API and returns the status and the answer.
func ask(t *testing.T, socket, method, path, body string) (int, string) {
	t.Helper()
	var d net.Dialer
	h := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", socket)
	}}}
	request, err := http.NewRequestWithContext(t.Context(), method, "http://gateway"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := h.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// What breaks the schema reaches no gateway, and is not repeated to whoever sent it.
func TestAbuseIsRefusedInShort(t *testing.T) {
	f := &fake{}
	_, socket := serve(t, f)
	secret := strings.Repeat("hunter2", 1000)
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/v1/write", `{"point": 3, "value": "` + secret + `"}`, 422},
		{"POST", "/v1/read", `{"points": "` + secret + `"}`, 422},
		{"POST", "/v1/read", `{"points": ["` + secret + `"], "` + secret + `": 1}`, 422},
		{"POST", "/v1/read", secret, 400},
		{"POST", "/v1/offline", `{}`, 400},
		{"POST", "/v1/offline", `{"names": ["a"], "driver": "b"}`, 400},
		{"POST", "/v1/offline", `{"names": "` + secret + `"}`, 422},
		{"POST", "/v1/offline", ``, 400},
		{"POST", "/v1/stop", `[]`, 422},
		{"POST", "/v1/drivers/modbus/level", `{"level": "` + secret + `"}`, 422},
		{"POST", "/v1/drivers/modbus/upgrade", `{"version": 2}`, 422},
		{"POST", "/v1/drivers/..%2F..%2Fetc/enable", ``, 422},
		{"POST", "/v1/drivers/" + secret + "/enable", ``, 422},
		{"POST", "/v1/drivers/%00/disable", ``, 422},
		{"DELETE", "/v1/drivers/-rf", ``, 422},
		{"GET", "/v1/drivers/modbus/logs?n=-1", ``, 422},
		{"GET", "/v1/drivers/modbus/logs?n=1000000", ``, 422},
		{"GET", "/v1/drivers/modbus/logs?follow=" + secret, ``, 422},
		{"PUT", "/v1/stop", `{}`, 405},
		{"GET", "/v1/nothing", ``, 404},
	} {
		status, text := ask(t, socket, c.method, c.path, c.body)
		if status != c.status || strings.Contains(text, secret[:300]) || len(text) > 1500 {
			t.Errorf("%s %.60s %.60s: %d %.2000s", c.method, c.path, c.body, status, text)
		}
	}
	if len(f.said) != 0 {
		t.Errorf("the gateway was asked %q", f.said)
	}
}
