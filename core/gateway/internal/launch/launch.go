// Package launch starts driver processes from verified images, confined, takes over those
// that an earlier gateway has started, and knows those that live.
//
// The Launcher does so for the supervisor. What a process may do is made of its package's
// manifest and of what its links name (policy.go, limits.go); a Renewer has processes
// replaced that may not do what they now have to, and a DirGuard kills those that fill the
// disk.
package launch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/reach"
	"github.com/fieldloom/fieldloom/core/internal/caller"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// A Launcher starts driver processes. Its methods may be called concurrently.
type Launcher struct {
	depot    *depot.Depot
	configs  func() []*config.Config // the first is the one in force
	services func(driverName string) host.Services
	logs     *driverLogs
	known    caller.Drivers // who may not call the API
	fleet    *fleet
	runDir   string
	notes    string // the directory of the notes of what is started; empty: runDir
	owner    string // the mark of the processes of this data directory; empty: none
	cgroup   string // to make groups in; empty: noCgroup says why not
	noCgroup string
	log      *slog.Logger
	attach   map[string]string // paths of records of drivers that were started by hand

	mu       sync.Mutex     // guards what follows
	renewals map[string]int // how often a driver was given new processes of one version
	policies map[string]knownPolicy
}

// Options say what a Launcher starts processes of.
type Options struct {
	Depot    *depot.Depot
	Configs  func() []*config.Config // the first is the one in force
	Services func(driverName string) host.Services
	Level    func(driverName string) slog.Level // of a driver's log
	Log      *slog.Logger
	RunDir   string            // of the processes' sockets and output; empty: that for temporary files
	Notes    string            // the directory of the notes of what is started; empty: RunDir
	Owner    string            // the mark of the processes of this data directory; empty: none
	Attach   map[string]string // paths of records of drivers that were started by hand
}

// New returns a launcher that knows no process yet.
func New(o Options) *Launcher {
	return &Launcher{depot: o.Depot, configs: o.Configs, services: o.Services, logs: newDriverLogs(o.Log, o.Level), fleet: new(fleet),
		runDir: o.RunDir, notes: o.Notes, owner: o.Owner, attach: o.Attach, log: o.Log}
}

// TakeOver ends the processes of an earlier gateway that cannot be taken over, removes what
// dead ones have left, and makes those known that will be. The data directory is this
// gateway's alone by now.
func (l *Launcher) TakeOver(records []supervise.Record) {
	err := host.Leftovers{RunDir: l.runDir, Notes: l.notes, Owner: l.owner, Log: l.log, Keep: processesOf(records)}.Sweep(context.Background())
	if err != nil {
		l.log.Error("end and remove what an earlier gateway has left", "err", err)
	}
	l.expect(records)
	if l.cgroup, err = confine.Delegated(); err != nil {
		l.noCgroup = err.Error()
	}
}

// FollowLevels puts the wanted levels of drivers' logs in force, also in processes that run.
func (l *Launcher) FollowLevels(ctx context.Context) { l.logs.follow(ctx, l.fleet) }

// Confined is how a living process was confined, and whether nobody signed what it runs;
// nil: no such process lives.
func (l *Launcher) Confined(pid int) (report *confine.Report, unsigned bool) {
	p := l.fleet.find(pid)
	if p == nil {
		return nil, false
	}
	return &p.Confinement, p.Unsigned
}

// Known are the processes that may not call the API.
func (l *Launcher) Known() *caller.Drivers { return &l.known }

// knownPolicy is a policy and what it was made of.
type knownPolicy struct {
	granted
	config *config.Config
	image  *depot.Image
	told   []string // what links name and the driver may not reach, or not for sure
	err    error
}

// isOld reports whether the policy is to be made again: of something else, or because
// there is something now where there was nothing.
func (k *knownPolicy) isOld(c *config.Config, of *depot.Image) bool {
	return k.config != c || k.image != of || slices.ContainsFunc(k.absent, isThere)
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// policy is what the processes of a driver may do by the configuration in force.
func (l *Launcher) policy(driverName string) (confine.Policy, error) {
	of, err := l.depot.Image(driverName)
	if err != nil {
		return confine.Policy{}, err
	}
	return l.policyFor(driverName, of)
}

func (l *Launcher) policyFor(driverName string, of *depot.Image) (confine.Policy, error) {
	configs := l.configs()
	if len(configs) > 1 {
		all, err := grant(driverName, of.Manifest, of.Version == depot.DevVersion, configs[len(configs)-1].Process(driverName), configs...)
		return all.policy, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.policies[driverName]
	if k.isOld(configs[0], of) {
		k = knownPolicy{config: configs[0], image: of}
		k.granted, k.err = grant(driverName, of.Manifest, of.Version == depot.DevVersion, configs[0].Process(driverName), configs[0])
		k.told = inShort(reach.Check(configs[0], driverName, of.Manifest, nil))
		if l.policies == nil {
			l.policies = make(map[string]knownPolicy)
		}
		l.policies[driverName] = k
	}
	return k.policy, k.err
}

// OutOfReach is what the links of a driver name in the configuration in force and its
// processes may not reach, or not for sure: its package says too little, or is another than
// the one that the links were checked with.
func (l *Launcher) OutOfReach(driverName string) []string {
	of, err := l.depot.Image(driverName)
	if err != nil {
		return nil
	}
	if len(l.configs()) == 1 {
		_, _ = l.policyFor(driverName, of) // has the links looked at where they have not been
	} // else one is being checked, and the last look will do
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.policies[driverName].told
}

// inShort is the first faults and doubts, and how many there are.
func inShort(found reach.Look) (texts []string) {
	const most = 3
	for _, list := range []config.Errors{found.Faults, found.Doubts} {
		for _, e := range list[:min(most, len(list))] {
			texts = append(texts, e.Error())
		}
		if len(list) > most {
			texts = append(texts, fmt.Sprintf("and %d more: see `fieldloom check`", len(list)-most))
		}
	}
	return texts
}

// rights tells two policies apart, and two renewals of one.
func (l *Launcher) rights(driverName string, of *depot.Image) string {
	policy, err := l.policyFor(driverName, of)
	if err != nil {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("-%s-%d", digest(&policy), l.renewals[driverName])
}

// renewed takes over how often the driver of an adopted process was given new ones, which
// is the last part of its image's hash: else it would be replaced for nothing.
func (l *Launcher) renewed(driverName, hash string) {
	n, err := strconv.Atoi(hash[strings.LastIndexByte(hash, '-')+1:])
	if err != nil {
		return // of an image without rights
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.renewals == nil {
		l.renewals = make(map[string]int)
	}
	l.renewals[driverName] = max(l.renewals[driverName], n)
}

// digest is a short hash of a policy: the same of two that allow the same, in whatever
// order their lists came to be.
func digest(p *confine.Policy) string {
	text, _ := json.Marshal(ordered(*p)) // numbers, texts and lists always marshal
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// renew gives a driver new processes of the version that it has.
func (l *Launcher) renew(ctx context.Context, driverName string, upgrade func(context.Context, string, string, func(supervise.Step)) error) error {
	of, err := l.depot.Image(driverName)
	if err != nil {
		return err
	}
	l.mu.Lock()
	if l.renewals == nil {
		l.renewals = make(map[string]int)
	}
	l.renewals[driverName]++
	l.mu.Unlock()
	return upgrade(ctx, driverName, of.Version, nil)
}

// expect makes the processes of records known before they are taken over: they run
// already.
func (l *Launcher) expect(records []supervise.Record) {
	for _, r := range records {
		if record, _, err := processOf(r); err == nil {
			l.known.Add(record.PID, record.Start, record.Hand)
		}
	}
}

// Launch starts one process.
func (l *Launcher) Launch(ctx context.Context, spec supervise.LaunchSpec) (supervise.Process, error) {
	if record := l.attach[spec.Driver]; record != "" {
		return l.attachByHand(ctx, spec.Driver, record, spec.OnLine)
	}
	img, ok := spec.Image.(image)
	if !ok {
		return nil, fmt.Errorf("start driver %s: it has no image", spec.Driver)
	}
	granted, err := l.policyFor(spec.Driver, img.of)
	if err != nil {
		return nil, err
	}
	policy := granted
	policy.Cgroup, policy.NoCgroup = l.cgroup, l.noCgroup
	how := l.configs()[0].Process(spec.Driver)
	var pending *confine.Pending
	command := l.command(spec.Driver, how)
	command.Path, command.Env = "driver-"+spec.Driver, Env(&policy)
	command.Detach, command.OnLine, command.Start = spec.Detach, spec.OnLine, l.known.Start
	if how.Spill == 0 { // what is spilled would be in memory
		command.Room = host.Room{Bytes: maxDirBytes + roomToTell, Files: maxDirFiles + roomToTell>>20}
	}
	command.Prepare = func(cmd *exec.Cmd, socketDir string) (started func(error), err error) {
		policy.RunDir = socketDir
		if pending, err = policy.Prepare(cmd, img.of.File()); err != nil {
			return nil, err
		}
		return pending.Started, nil
	}
	p, err := host.Launch(ctx, command)
	report := reportOf(pending)
	switch {
	case err != nil && report.Fault != "": // the reason, of which the process's end is the consequence
		return nil, fmt.Errorf("start driver %s: %s", spec.Driver, report.Fault)
	case err != nil:
		return nil, err
	}
	if err := sameName(ctx, spec.Driver, p); err != nil {
		return nil, err
	}
	return l.fleet.add(spec.Driver, p, &launchInfo{Confinement: report, Policy: granted, Unsigned: img.of.Unsigned, Spill: how.Spill}), nil
}

// tailLines is how many of the last lines of a process that died are shown.
const tailLines = 200

// sameName stops a process that says that it is another driver: its executable came into
// the wrong package, and would be asked for what it does not know.
func sameName(ctx context.Context, driverName string, p *host.Process) error {
	name := p.Description().Name
	if name == driverName {
		return nil
	}
	err := driver.Errorf(driver.InvalidConfig, "start driver %s: its executable says that it is driver %s: install a package with the right one", driverName, name)
	return errors.Join(err, p.Stop(ctx))
}

// reportOf is how a process was confined, and why it was not started where that is
// the reason. Without a report there is another reason, which the start tells: no
// process was to be had, or it was killed.
func reportOf(pending *confine.Pending) confine.Report {
	if pending == nil {
		return confine.Report{}
	}
	report, _ := pending.Report()
	return report
}

// command is what is the same however a process comes to be.
func (l *Launcher) command(driverName string, how config.Process) host.Command {
	return host.Command{
		Name: driverName, Log: l.logs.logger(driverName), Services: l.services(driverName), RunDir: l.runDir, TailLines: tailLines,
		Notes: l.notes, Owner: l.owner,
		Orphan: l.configs()[0].Orphan, Spill: how.Spill, Level: l.logs.level(driverName),
	}
}

// killLimit is how long the kernel may take to end a process that is not adopted.
const killLimit = 5 * time.Second

// Adopt reattaches to a process of an earlier gateway. One that is there, and does not
// answer or not as the record says, is killed: it may have links open, and is what an
// earlier gateway has started, for its number and the time of its start say so.
func (l *Launcher) Adopt(ctx context.Context, r supervise.Record) (supervise.Process, error) {
	record, info, err := processOf(r)
	if err != nil {
		return nil, fmt.Errorf("adopt driver %s: %w: %w", r.Driver, host.ErrGone, err)
	}
	l.known.Add(record.PID, record.Start, record.Hand)
	command := l.command(r.Driver, l.configs()[0].Process(r.Driver))
	command.Detach, command.OnLine = true, r.OnLine
	p, err := host.Reattach(ctx, record, command)
	if err == nil {
		l.renewed(r.Driver, r.Hash)
		return l.fleet.adopt(r.Driver, p, info), nil
	}
	if record.Hand || errors.Is(err, host.ErrGone) {
		return nil, err
	}
	killing, cancel := context.WithTimeout(context.WithoutCancel(ctx), killLimit)
	defer cancel()
	if killErr := host.Kill(killing, record); killErr != nil && !errors.Is(killErr, host.ErrGone) {
		return nil, errors.Join(err, killErr)
	}
	return nil, fmt.Errorf("%w: it was killed: %w", err, host.ErrGone)
}

// attachByHand takes a driver that somebody started, at a debugger perhaps.
func (l *Launcher) attachByHand(ctx context.Context, driverName, path string, onLine func(host.Line)) (supervise.Process, error) {
	record, err := host.ReadRecord(path)
	if err != nil {
		return nil, byHandError(driverName, fmt.Errorf("%w: start it by hand with FIELDLOOM_SERVE, which writes that file", err))
	}
	command := l.command(driverName, l.configs()[0].Process(driverName))
	command.OnLine = onLine
	l.known.Add(record.PID, record.Start, record.Hand)
	p, err := host.Reattach(ctx, record, command)
	if err != nil {
		return nil, byHandError(driverName, err)
	}
	return l.fleet.add(driverName, p, &launchInfo{Unsigned: true, ByHand: true}), nil
}

// byHandError is why a driver that somebody is to start is not there. It is no death of it:
// it is tried again until somebody has.
func byHandError(driverName string, err error) error {
	return driver.Errorf(driver.InvalidConfig, "attach to driver %s: %w", driverName, err)
}
