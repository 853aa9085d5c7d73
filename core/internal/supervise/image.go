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

// refresh has it looked at again whether there is what runs, and what an upgrade brings.
func (p *pool) refresh() {
	p.recheck, p.asked = true, true
	u := p.upgrade
	if u == nil {
		return
	}
	version := u.Version
	p.work.Go(func() {
		if _, err := p.s.o.Image(p.kind, version); err != nil && !errors.Is(err, ErrImageUnclear) {
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
	if !p.recheck || p.checking || p.s.o.Image == nil || !p.wanted || p.closing || p.roster.isAdopting() || p.upgrade != nil {
		return
	}
	asked, version := p.asked, p.version
	p.recheck, p.asked, p.checking = false, false, true
	p.work.Go(func() {
		active, err := p.s.o.Image(p.kind, "")
		if version != "" {
			if same, sameErr := p.s.o.Image(p.kind, version); sameErr == nil {
				active, err = same, nil
			}
		}
		p.do(func() {
			p.checking = false
			p.found(active, err, asked)
		})
	})
}

// found takes the answer: image is what the pool should run. Processes are not stopped for
// want of an image, unless somebody said that it has gone, and it was taken back.
func (p *pool) found(image Image, err error, asked bool) {
	if err != nil {
		if asked && !errors.Is(err, ErrImageUnclear) {
			p.missing = err.Error()
		} else {
			p.log.Warn("driver process goes on, and cannot be started again", "err", err)
		}
		return
	}
	back := p.missing != ""
	p.missing = ""
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
		if m == nil || m.life == nil || !m.life.adopted || m.life.hash == image.Hash() {
			continue
		}
		if !m.life.next {
			p.version = m.life.version // it is what runs, should the upgrade fail
		}
		what := "driver process from before the restart runs another version: it is upgraded"
		if m.life.version == image.Version() {
			what = "driver process from before the restart has other rights or another executable than its version now: it gets a successor"
		}
		p.log.Info(what, "runs", m.life.version, "version", image.Version())
		p.work.Go(func() {
			ctx, cancel := context.WithCancel(p.ctx)
			defer cancel()
			if err := p.upgradeTo(ctx, image.Version(), func(Step) {}); err != nil && !p.isClosing() {
				p.log.Error("driver is not upgraded: the version from before goes on", "version", image.Version(), "err", err)
			}
		})
		return
	}
}
