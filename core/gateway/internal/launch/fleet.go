package launch

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"

	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// launchInfo is how a process was started.
type launchInfo struct {
	Confinement confine.Report `json:"confinement"`
	Policy      confine.Policy `json:"policy"`
	Unsigned    bool           `json:"unsigned,omitempty"`
	ByHand      bool           `json:"by_hand,omitempty"`
	Spill       int64          `json:"spill,omitempty"` // bytes on disk that its ring may take
}

// keptRecord is what the gateway that comes after needs of a detached process.
type keptRecord struct {
	Process json.RawMessage `json:"process"` // a wire.Record
	Shipped *launchInfo     `json:"shipped"`
}

// processOf reads what a record keeps of a process.
func processOf(r supervise.Record) (wire.Record, *launchInfo, error) {
	var kept keptRecord
	if err := json.Unmarshal(r.Process, &kept); err != nil {
		return wire.Record{}, nil, err
	}
	record, err := wire.ParseRecord(kept.Process)
	return record, kept.Shipped, err
}

// processesOf are the processes of records.
func processesOf(records []supervise.Record) (list []wire.Record) {
	for _, r := range records {
		if record, _, err := processOf(r); err == nil {
			list = append(list, record)
		}
	}
	return list
}

// fleet knows the processes that live.
type fleet struct {
	mu   sync.Mutex
	list []*process
}

// process is a *host.Process behind package supervise's interface.
type process struct {
	*host.Process
	driver  string
	adopted bool // an earlier gateway has started it
	*launchInfo
}

var _ supervise.Process = (*process)(nil)

// add takes a process into the fleet, and adopt one that an earlier gateway has started.
func (f *fleet) add(driverName string, p *host.Process, s *launchInfo) *process {
	return f.insert(&process{Process: p, driver: driverName, launchInfo: s})
}

func (f *fleet) adopt(driverName string, p *host.Process, s *launchInfo) *process {
	return f.insert(&process{Process: p, driver: driverName, launchInfo: s, adopted: true})
}

// insert makes a process known. The dead leave the fleet by that.
func (f *fleet) insert(added *process) *process {
	if added.launchInfo == nil {
		added.launchInfo = new(launchInfo)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(slices.DeleteFunc(f.list, (*process).isDead), added)
	return added
}

func (p *process) isDead() bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// of returns the living processes of a driver.
func (f *fleet) of(driverName string) []*process {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []*process
	for _, p := range f.list {
		if p.driver == driverName && !p.isDead() {
			list = append(list, p)
		}
	}
	return list
}

// all returns all living processes.
func (f *fleet) all() []*process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.list), (*process).isDead)
}

// find returns a living process.
func (f *fleet) find(pid int) *process {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.list {
		if p.PID() == pid && !p.isDead() {
			return p
		}
	}
	return nil
}

// Attach opens the stream.
func (p *process) Attach(ctx context.Context, h host.Hello, to host.Handler) (supervise.Attachment, error) {
	a, err := p.Process.Attach(ctx, h, to)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Record is what adopt needs.
func (p *process) Record() (json.RawMessage, error) {
	record, err := json.Marshal(p.Process.Record())
	if err != nil {
		return nil, err
	}
	return json.Marshal(keptRecord{record, p.launchInfo})
}

// driverLogs gives each driver a logger with a level of its own.
type driverLogs struct {
	to   *slog.Logger
	want func(driverName string) slog.Level

	mu     sync.Mutex
	levels map[string]*slog.LevelVar
}

func newDriverLogs(to *slog.Logger, want func(driverName string) slog.Level) *driverLogs {
	return &driverLogs{to: to, want: want, levels: make(map[string]*slog.LevelVar)}
}

func (d *driverLogs) variable(driverName string) *slog.LevelVar {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.levels[driverName]
	if v == nil {
		v = new(slog.LevelVar)
		v.Set(d.want(driverName))
		d.levels[driverName] = v
	}
	return v
}

func (d *driverLogs) level(driverName string) slog.Level { return d.variable(driverName).Level() }

func (d *driverLogs) logger(driverName string) *slog.Logger {
	return slog.New(&levelHandler{d.to.Handler(), d.variable(driverName)})
}

// follow puts the wanted levels in force, also in processes that run.
func (d *driverLogs) follow(ctx context.Context, f *fleet) {
	d.mu.Lock()
	changed := make(map[string]slog.Level)
	for driverName, v := range d.levels {
		if want := d.want(driverName); want != v.Level() {
			v.Set(want)
			changed[driverName] = want
		}
	}
	d.mu.Unlock()
	for driverName, level := range changed {
		for _, p := range f.of(driverName) {
			if err := p.SetLevel(ctx, level); err != nil {
				d.to.Warn("set the level of a driver's log", "driver", driverName, "pid", p.PID(), "err", err)
			}
		}
	}
}

// levelHandler keeps the lines from its own level on, whatever the other keeps.
type levelHandler struct {
	slog.Handler
	level slog.Leveler
}

// Enabled implements slog.Handler.
func (h *levelHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

// WithAttrs implements slog.Handler.
func (h *levelHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &levelHandler{h.Handler.WithAttrs(attrs), h.level}
}

// WithGroup implements slog.Handler.
func (h *levelHandler) WithGroup(name string) slog.Handler {
	return &levelHandler{h.Handler.WithGroup(name), h.level}
}
