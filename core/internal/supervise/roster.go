package supervise

import "slices"

// roster is the members of a pool, and which of them is the primary of each shard. The pool's
// mu guards it.
type roster struct {
	hire func(number int) *member // constant, as is kept: makes a member of the pool
	kept func(m *member) bool     // reports whether an upgrade may have to go back to the member

	shards  []*shard
	members []*member // with those that are not needed any more, until they have stopped
	numbers int       // of members made
}

// A shard is a share of the links.
type shard struct {
	index   int
	primary *member
}

func (r *roster) newMember() *member {
	m := r.hire(r.numbers)
	r.numbers++
	r.members = append(r.members, m)
	return m
}

func (r *roster) remove(m *member) {
	r.members = slices.DeleteFunc(r.members, func(other *member) bool { return other == m })
}

// fill makes n shards and gives each a primary.
func (r *roster) fill(n int) {
	for len(r.shards) > n {
		r.shards = r.shards[:len(r.shards)-1] // its primary becomes a spare, or is dismissed
	}
	for len(r.shards) < n {
		r.shards = append(r.shards, &shard{index: len(r.shards)})
	}
	for _, sh := range r.shards {
		if sh.primary == nil || sh.primary.leaving {
			sh.primary = r.spareFor(sh.index)
		}
	}
}

// spareFor finds a member for a shard that has none, or makes one.
func (r *roster) spareFor(index int) *member {
	var best *member
	for _, m := range r.members {
		if !r.isFree(m) || m.state.down() {
			continue
		}
		if m.index >= 0 && m.index < len(r.shards) && m.index != index {
			continue // it is another shard's
		}
		if best == nil || m.index == index {
			best = m
		}
	}
	if best == nil {
		best = r.newMember()
	}
	best.index = index
	return best
}

// staff brings the number of spares to n.
func (r *roster) staff(n int) {
	var spares []*member
	for _, m := range r.members {
		if !m.leaving && !r.isPrimary(m) {
			spares = append(spares, m)
		}
	}
	slices.SortStableFunc(spares, func(a, b *member) int { return b.worth() - a.worth() })
	for i, m := range spares {
		if i >= n || m.stale() {
			m.dismiss()
			continue
		}
		m.index = -1
	}
	for i := len(spares); i < n; i++ {
		r.newMember()
	}
}

// replace gives a warm spare the place of a primary that died, and its record of deaths. It
// returns the spare; nil: there is none.
func (r *roster) replace(m *member) *member {
	at := r.primaryOf(m)
	if at < 0 {
		return nil
	}
	for _, spare := range r.members {
		if spare.state == Standby && !spare.life.killed && r.isFree(spare) {
			r.shards[at].primary = spare
			m.index, spare.index = spare.index, m.index
			return spare
		}
	}
	return nil
}

// primaryOf is the index of the shard whose primary m is; -1: it is a spare.
func (r *roster) primaryOf(m *member) int {
	return slices.IndexFunc(r.shards, func(sh *shard) bool { return sh.primary == m })
}

func (r *roster) isPrimary(m *member) bool { return r.primaryOf(m) >= 0 }

// isFree reports whether a member is a spare that can become a primary: not one to which an
// upgrade may have to go back.
func (r *roster) isFree(m *member) bool {
	return !m.leaving && !m.candidate && !r.isPrimary(m) && !r.kept(m)
}

// isAdopting reports whether it is not known yet which links are open in processes of an
// earlier core: none may be opened meanwhile.
func (r *roster) isAdopting() bool {
	return slices.ContainsFunc(r.members, func(m *member) bool { return m.record != nil || m.taking })
}

// takesWhole reports whether a process of the pool takes all links or none, so that there
// can be one shard only.
func (r *roster) takesWhole() bool {
	return slices.ContainsFunc(r.members, func(m *member) bool { return m.life != nil && m.life.whole })
}

// process is the process of a member that is a primary, best of an active one.
func (r *roster) process() Process {
	var found Process
	for _, sh := range r.shards {
		if m := sh.primary; m != nil && m.life != nil && (found == nil || m.state == Active) {
			found = m.life.proc
		}
	}
	return found
}

// worst is the primary that is worst off; nil: there is none.
func (r *roster) worst() *member {
	rank := []State{Standby, Active, Verified, Starting, Draining, Stopped, BackingOff, Quarantined}
	var found *member
	for _, sh := range r.shards {
		if m := sh.primary; m != nil && (found == nil || slices.Index(rank, m.state) > slices.Index(rank, found.state)) {
			found = m
		}
	}
	return found
}

// configured is the lives that have been given a state.
func (r *roster) configured() (lives []*life) {
	for _, m := range r.members {
		if l := m.life; l != nil && !l.over && l.given.state != nil {
			lives = append(lives, l)
		}
	}
	return lives
}

// forgive forgets every death.
func (r *roster) forgive(why string) {
	for _, m := range r.members {
		m.forgive(why)
	}
}
