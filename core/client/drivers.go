package client

import (
	"context"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Package is a version of a driver in the drivers directory, or what was refused as one.
type Package struct {
	Driver   string   `json:"driver"`
	Version  string   `json:"version"`
	Serial   uint64   `json:"serial" doc:"Grows with every version that is signed; an older one is not taken"`
	Key      string   `json:"key,omitempty" doc:"The id of the key that signed it"`
	Unsigned bool     `json:"unsigned" doc:"Nobody signed it: it may run only with unsigned: allow-dev"`
	Active   bool     `json:"active" doc:"New processes are started from it"`
	Chosen   bool     `json:"chosen" doc:"It is active because the operator said so, by upgrade or rollback"`
	Disabled bool     `json:"disabled" doc:"The driver was disabled by the operator"`
	State    string   `json:"state" doc:"What became of it, in a word" example:"accepted"`
	Refusal  string   `json:"refusal,omitempty" doc:"Why it may not run, and what to do"`
	Path     string   `json:"path,omitempty" doc:"Its name in the drivers directory"`
	Signer   string   `json:"signer,omitempty" doc:"What the trust file says of the key"`
	Links    []string `json:"links,omitempty" doc:"The links that use the driver"`

	Processes int  `json:"processes,omitempty" doc:"How many processes of this version run"`
	Holds     int  `json:"holds,omitempty" doc:"How many links they hold"`
	Stale     bool `json:"stale,omitempty" doc:"What runs was started from what lay there before: an upgrade to the same version replaces it"`

	Accepted time.Time `json:"accepted,omitzero" doc:"When it was accepted first"`
}

// PackageList is the answer to Packages.
type PackageList struct {
	Packages []Package `json:"packages"`
}

// DriverChange is what became of a driver by a command.
type DriverChange struct {
	Driver  string `json:"driver"`
	Version string `json:"version,omitempty" doc:"The version that is active now"`
	Text    string `json:"text" doc:"What was done, for people"`
}

// UpgradeRequest asks for another version of a driver.
type UpgradeRequest struct {
	Version string `json:"version,omitempty" maxLength:"128" doc:"Absent: the newest, or with a rollback the one before"`
}

// Step is one step of an upgrade. The last one says that it is done, or why the
// driver is back at its old version.
type Step struct {
	Time    time.Time `json:"time"`
	Name    string    `json:"step" doc:"Which step, for programs" example:"drain"`
	Text    string    `json:"text" doc:"What is done, for people"`
	Link    string    `json:"link,omitempty" doc:"The link that changes hands"`
	Done    int       `json:"done" doc:"Steps of this upgrade that are done"`
	Of      int       `json:"of" doc:"How many there are, as far as is known"`
	Final   bool      `json:"final,omitempty" doc:"No other follows"`
	Version string    `json:"version,omitempty" doc:"With final: the version that is active"`
	Fault   *Fault    `json:"fault,omitempty" doc:"With final: why the upgrade failed"`
}

// LevelRequest asks for another level of a driver's log.
type LevelRequest struct {
	Level string `json:"level" enum:"debug,info,warn,error,default" doc:"default: as the configuration says"`
}

// LogLine is one line of a driver's log.
type LogLine struct {
	Time  time.Time `json:"time"`
	PID   int       `json:"pid"`
	Level string    `json:"level"`
	Text  string    `json:"text"`
}

// Event is a change of state of a driver process, or a step of an upgrade.
type Event struct {
	Number uint64    `json:"number" doc:"Grows by one with each event since the gateway started"`
	Time   time.Time `json:"time"`
	Driver string    `json:"driver"`
	Member int       `json:"member" doc:"Which of the driver's processes, from 0"`
	PID    int       `json:"pid,omitempty"`
	Link   string    `json:"link,omitempty" doc:"The link that the step is about"`
	Step   string    `json:"step,omitempty" doc:"Of an upgrade; absent: a change of state"`
	From   string    `json:"from,omitempty" doc:"The state before"`
	To     string    `json:"to,omitempty" doc:"The state since then"`
	Cause  string    `json:"cause,omitempty"`
}

// LineRequest says what is to go off line or on line: links and devices, or a driver.
type LineRequest struct {
	Names  []string `json:"names,omitempty" maxItems:"1000" doc:"LINK or LINK/DEVICE"`
	Driver string   `json:"driver,omitempty" doc:"Instead of names: a driver with all its links"`
	Force  bool     `json:"force,omitempty" doc:"Bring on line without a health check"`
}

// LineResult is what became of one name.
type LineResult struct {
	Name  string    `json:"name" doc:"LINK, LINK/DEVICE, or the driver"`
	Since time.Time `json:"since,omitzero" doc:"Since when it is off line; absent: it is on line"`
	Text  string    `json:"text,omitempty" doc:"What was done, for people"`
	Fault *Fault    `json:"fault,omitempty" doc:"Why it stays off line"`
}

// LineList is the answer to Offline and Online.
type LineList struct {
	Results []LineResult `json:"results"`
}

// StopRequest asks the gateway to stop.
type StopRequest struct {
	Drivers bool `json:"drivers,omitempty" doc:"Stop detached drivers as well"`
}

// Packages lists the driver packages.
func (c *Client) Packages(ctx context.Context) ([]Package, error) {
	var list PackageList
	return list.Packages, c.call(ctx, http.MethodGet, "/v1/drivers", nil, nil, &list)
}

// Install installs a driver package, an archive as `fieldloom driver sign` makes it.
func (c *Client) Install(ctx context.Context, archive io.Reader) (Package, error) {
	var p Package
	return p, c.transfer(ctx, http.MethodPost, "/v1/drivers", archive, &p)
}

// Remove removes a version of a driver, all of them without a version.
func (c *Client) Remove(ctx context.Context, driver, version string, force bool) (DriverChange, error) {
	q := make(url.Values)
	if version != "" {
		q.Set("version", version)
	}
	if force {
		q.Set("force", "true")
	}
	var done DriverChange
	return done, c.call(ctx, http.MethodDelete, driverPath(driver, ""), q, nil, &done)
}

// Enable lets a driver run that was disabled or quarantined.
func (c *Client) Enable(ctx context.Context, driver string) (DriverChange, error) {
	var done DriverChange
	return done, c.call(ctx, http.MethodPost, driverPath(driver, "/enable"), nil, nil, &done)
}

// Disable drains and stops a driver, until Enable.
func (c *Client) Disable(ctx context.Context, driver string) (DriverChange, error) {
	var done DriverChange
	return done, c.call(ctx, http.MethodPost, driverPath(driver, "/disable"), nil, nil, &done)
}

// Upgrade brings a driver to a version while it runs, and yields each step as it
// happens. An upgrade that failed ends with a step that has a fault.
func (c *Client) Upgrade(ctx context.Context, driver, version string) iter.Seq2[Step, error] {
	return stream[Step](ctx, c, http.MethodPost, driverPath(driver, "/upgrade"), nil, UpgradeRequest{version})
}

// Rollback brings a driver back to a version that was accepted before, without one to that
// which was active before.
func (c *Client) Rollback(ctx context.Context, driver, version string) iter.Seq2[Step, error] {
	return stream[Step](ctx, c, http.MethodPost, driverPath(driver, "/rollback"), nil, UpgradeRequest{version})
}

// SetLevel sets the level of a driver's log, also of processes that run.
func (c *Client) SetLevel(ctx context.Context, driver, level string) (DriverChange, error) {
	var done DriverChange
	return done, c.call(ctx, http.MethodPost, driverPath(driver, "/level"), nil, LevelRequest{level}, &done)
}

// Logs yields the last n lines of a driver, then, with follow, each new one.
func (c *Client) Logs(ctx context.Context, driver string, n int, follow bool) iter.Seq2[LogLine, error] {
	lines := stream[LogLine](ctx, c, http.MethodGet, driverPath(driver, "/logs"), followQuery(n, follow), nil)
	if follow {
		return endless(ctx, lines)
	}
	return lines
}

// Events yields the last n events, then, with follow, each new one.
func (c *Client) Events(ctx context.Context, n int, follow bool) iter.Seq2[Event, error] {
	events := stream[Event](ctx, c, http.MethodGet, "/v1/events", followQuery(n, follow), nil)
	if follow {
		return endless(ctx, events)
	}
	return events
}

// Offline takes links, devices or a driver off line, until Online.
func (c *Client) Offline(ctx context.Context, r LineRequest) ([]LineResult, error) {
	var list LineList
	return list.Results, c.call(ctx, http.MethodPost, "/v1/offline", nil, r, &list)
}

// Online brings back what passes its health check. What does not has its fault in its result.
func (c *Client) Online(ctx context.Context, r LineRequest) ([]LineResult, error) {
	var list LineList
	return list.Results, c.call(ctx, http.MethodPost, "/v1/online", nil, r, &list)
}

// Stop asks the gateway to stop and returns what it was, before it has stopped.
func (c *Client) Stop(ctx context.Context, drivers bool) (Health, error) {
	var h Health
	return h, c.call(ctx, http.MethodPost, "/v1/stop", nil, StopRequest{drivers}, &h)
}

func driverPath(driver, rest string) string { return "/v1/drivers/" + url.PathEscape(driver) + rest }

func followQuery(n int, follow bool) url.Values {
	return url.Values{"n": {strconv.Itoa(n)}, "follow": {strconv.FormatBool(follow)}}
}
