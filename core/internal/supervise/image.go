package supervise

import (
	"context"
	"errors"
)

// ErrImageUnclear is in the tree of an error of Options.Image that does not say that the image
// was taken back: what runs goes on. It has no text.
var ErrImageUnclear error = unclear{}

type unclear struct{}

func (unclear) Error() string { return "" }

// images is what the processes of a driver are launched from. The pool's mu guards all but what
// is constant.
type images struct {
	driver string                                          // constant
	find   func(driverName, version string) (Image, error) // as Options.Image; constant

	version  string // of the image that new processes are made of; "": the active one
	launched Image  // the last that was
	recheck  bool   // the image may have changed
	asked    bool   // with recheck: by Refresh
	checking bool
}

// use makes an image that of new processes.
func (i *images) use(image Image) { i.launched, i.version = image, image.Version() }

// pick finds what is to be launched: a version, or the active one where that is gone. It takes
// its time, and needs no lock.
func (i *images) pick(version string) (Image, error) {
	if i.find == nil {
		return nil, nil
	}
	if version != "" {
		if image, err := i.find(i.driver, version); err == nil {
			return image, nil
		}
	}
	return i.find(i.driver, "")
}

// current finds the image of a version that runs, or where that is gone the active one, whose
// error it returns. As pick, it needs no lock.
func (i *images) current(version string) (Image, error) {
	active, err := i.find(i.driver, "")
	if version != "" {
		if same, sameErr := i.find(i.driver, version); sameErr == nil {
			return same, nil
		}
	}
	return active, err
}

// isDue reports whether the image is to be looked at again.
func (i *images) isDue() bool { return i.recheck && !i.checking && i.find != nil }

// isStale reports whether a hash is of another image than that of new processes.
func (i *images) isStale(hash string) bool { return i.launched != nil && hash != i.launched.Hash() }

// refresh checks the installed image again, and what an upgrade brings.
func (p *pool) refresh() {
	p.images.recheck, p.images.asked = true, true
	u := p.upgrade
	if u == nil {
		return
	}
	version := u.Version
	p.work.Go(func() {
		if _, err := p.images.find(p.driver, version); err != nil && !errors.Is(err, ErrImageUnclear) {
			p.do(func() {
				if p.upgrade == u {
					u.fail(err)
				}
			})
		}
	})
}

// checkImage looks whether the image that the pool should run is still there, and
// whether it is the one that runs.
func (p *pool) checkImage() {
	i := &p.images
	if !i.isDue() || !p.demand.wanted || p.demand.closing || p.roster.isAdopting() || p.upgrade != nil {
		return
	}
	asked, version := i.asked, i.version
	i.recheck, i.asked, i.checking = false, false, true
	p.work.Go(func() {
		image, err := i.current(version)
		p.do(func() {
			i.checking = false
			p.found(image, err, asked)
		})
	})
}

// found takes the answer: image is what the pool should run. Processes are not stopped for
// want of an image, unless somebody said that it has gone, and it was taken back.
func (p *pool) found(image Image, err error, asked bool) {
	if err != nil {
		if asked && !errors.Is(err, ErrImageUnclear) {
			p.demand.missing = err.Error()
		} else {
			p.log.Warn("driver process goes on, and cannot be started again", "err", err)
		}
		return
	}
	back := p.demand.missing != ""
	p.demand.missing = ""
	for _, m := range p.roster.members {
		if back || m.life == nil && m.ran != image.Hash() {
			m.forgive("there is another image")
		}
	}
	p.followImage(image)
}

// followImage upgrades processes that were adopted and run something else than what
// is active now. A process that this core started runs what it was told to.
func (p *pool) followImage(image Image) {
	for _, sh := range p.roster.shards {
		m := sh.primary
		if m == nil || m.life == nil || m.life.adopted == nil || m.life.hash == image.Hash() {
			continue
		}
		if !m.life.adopted.next {
			p.images.version = m.life.version // it is what runs, should the upgrade fail
		}
		what := "driver process from before the restart runs another version: it is upgraded"
		if m.life.version == image.Version() {
			what = "driver process from before the restart has other rights or another executable than its version now: it gets a successor"
		}
		p.log.Info(what, "runs", m.life.version, "version", image.Version())
		p.work.Go(func() {
			ctx, cancel := context.WithCancel(p.ctx)
			defer cancel()
			err := newUpgrade(p, image.Version(), func(Step) {}).run(ctx)
			if err != nil && !p.isClosing() {
				p.log.Error("driver is not upgraded: the version from before goes on", "version", image.Version(), "err", err)
			}
		})
		return
	}
}
