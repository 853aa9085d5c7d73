package confine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

const (
	// shimName is the name by which a process knows that it is the shim: no file is
	// called so, and nobody types it.
	shimName = "fieldloom: confine"
	// firstExtra is the number of the first of exec.Cmd's ExtraFiles.
	firstExtra = 3
	// shimLimit is how long a shim may take; it takes milliseconds.
	shimLimit = 10 * time.Second
	// goOn is the word by which a shim goes on.
	goOn = 1
	// maxReport bounds what is read from a shim.
	maxReport = 1 << 20
	// maxOrder bounds the order: all ports that there are take 400 KB.
	maxOrder = 1 << 20
)

// order is what the gateway sends to the shim.
type order struct {
	Policy Policy
	Args   []string // of the image, with its name
	Image  int      // its descriptor
	Report int      // the descriptor that the report goes to
	Gate   int      // the descriptor on which the word comes that the image may run
	Found  Report   // what the gateway did itself
}

// A Pending is a prepared start.
type Pending struct {
	mode   Mode
	read   *os.File // where the shim's report comes from
	gate   *os.File // nil: the image was let run, or was given up
	closed []io.Closer
}

// Prepare changes cmd, which has not been started, so that it executes the image,
// confined by the policy. A nil image is the file at cmd.Path, which is then opened
// here. Arguments, environment, standard streams and ExtraFiles reach the image as
// they are. No instruction of the image is executed before the caller has called
// Started, and none at all when it dies before that. The caller calls Started after
// cmd.Start, whether it failed or not, and may ask for the Report. The image stays the
// caller's.
func (p Policy) Prepare(cmd *exec.Cmd, image *os.File) (*Pending, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	pending := &Pending{mode: p.Mode}
	if image == nil {
		file, err := os.Open(cmd.Path)
		if err != nil {
			return nil, fmt.Errorf("confine: %w", err)
		}
		pending.closed = append(pending.closed, file)
		image = file
	}
	if err := p.prepareShim(cmd, image, pending); err != nil {
		pending.Started(err)
		return nil, err
	}
	return pending, nil
}

func (p Policy) prepareShim(cmd *exec.Cmd, image *os.File, pending *Pending) error {
	p = p.withDefaults()
	o := order{Policy: p, Args: cmd.Args, Image: firstExtra + len(cmd.ExtraFiles), Found: Report{Mode: p.Mode}}
	o.Report, o.Gate = o.Image+1, o.Image+2
	if p.Mode != Off {
		if err := p.identity().giveRunDir(p.RunDir); err != nil {
			return err
		}
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{}
		}
		if group := (&cgroup{Dir: p.Cgroup, Why: p.NoCgroup, limits: p.limits()}).join(cmd.SysProcAttr, &o.Found); group != nil {
			pending.closed = append(pending.closed, group)
		}
	}
	sent, err := o.send()
	if err != nil {
		return err
	}
	pending.closed = append(pending.closed, sent)
	write, wait, err := pending.open()
	if err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	cmd.Path, cmd.Err = "/proc/self/exe", nil
	cmd.Args = []string{shimName, strconv.Itoa(o.Gate + 1)}
	cmd.ExtraFiles = append(cmd.ExtraFiles, image, write, wait, sent)
	return nil
}

// send returns the end of a pipe from which the shim reads the order: an argument may
// have 128 KiB, which the ports of 20,000 links exceed. The writer ends with the last
// reader: the shim, and the returned file.
func (o *order) send() (*os.File, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("confine: %w", err)
	}
	if len(text) > maxOrder {
		return nil, fmt.Errorf("confine: the policy takes %d bytes, %d are possible: name directories in place of files", len(text), maxOrder)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("confine: %w", err)
	}
	go func() {
		_, _ = write.Write(text) // the shim tells what it could not read
		_ = write.Close()
	}()
	return read, nil
}

// open makes the pipes to and from the shim, and returns its ends.
func (s *Pending) open() (report, gate *os.File, err error) {
	if s.read, report, err = os.Pipe(); err != nil {
		return nil, nil, err
	}
	s.closed = append(s.closed, report)
	if gate, s.gate, err = os.Pipe(); err != nil {
		return nil, nil, errors.Join(err, s.read.Close())
	}
	s.closed = append(s.closed, gate)
	return report, gate, nil
}

// Started lets the image run, where err is nil: whoever started the process knows it
// now. Otherwise the process ends without having executed anything of the image. Only
// the first call counts.
func (s *Pending) Started(err error) {
	if s.gate != nil {
		if err == nil {
			_, _ = s.gate.Write([]byte{goOn}) // a shim that is dead says so by its end
		}
		_ = s.gate.Close()
		s.gate = nil
	}
	for _, c := range s.closed {
		_ = c.Close()
	}
	s.closed = nil
}

// Report waits until the image runs or has failed to, and says how it is confined. The
// error is the shim's own. It is called once, after the command was started.
func (s *Pending) Report() (Report, error) {
	s.Started(errors.New("nobody said that the process was started"))
	defer s.read.Close()
	_ = s.read.SetReadDeadline(time.Now().Add(shimLimit))
	text, err := io.ReadAll(io.LimitReader(s.read, maxReport))
	if err != nil {
		return Report{Mode: s.mode}, fmt.Errorf("confine: read the shim's report: %w", err)
	}
	// A shim whose exec fails writes a second report, so the last one counts.
	var report Report
	for line := range bytes.Lines(text) {
		report = Report{}
		if err := json.Unmarshal(line, &report); err != nil {
			return Report{Mode: s.mode}, fmt.Errorf("confine: the shim's report: %w", err)
		}
	}
	switch {
	case len(text) == 0:
		return Report{Mode: s.mode}, errors.New("confine: the shim ended without a report: see the driver's last lines")
	case report.Fault != "":
		return report, errors.New(report.Fault)
	}
	return report, nil
}
