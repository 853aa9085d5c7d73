package supervise

// demand is what is wanted of a driver, and why it is not to run where it is not. The pool's mu
// guards it.
type demand struct {
	desired  Desired
	wanted   bool   // Set has it
	prepared bool   // Prepare wants a process, though Set may not
	settled  bool   // Set has been called: processes that were adopted can be judged
	closing  bool   // the gateway is stopping
	keep     bool   // with closing: let go of what is detached
	missing  string // why there is no image of what is to run any more; empty: there is
}

// set makes d what is desired. It reports whether the state has changed.
func (d *demand) set(desired Desired) (changed bool) {
	changed = !d.wanted || desired.State != d.desired.State
	d.desired, d.wanted, d.prepared, d.settled = desired, true, false, true
	return changed
}

// leave is set with nothing: no link uses the driver.
func (d *demand) leave() {
	d.wanted, d.prepared, d.settled = false, false, true
	d.desired = Desired{}
}

// runs reports whether there should be processes.
func (d *demand) runs() bool {
	return !d.closing && d.desired.Disabled == "" && d.missing == "" && (d.wanted || d.prepared)
}

// isOver reports whether nobody wants processes any more.
func (d *demand) isOver() bool { return d.closing || !d.wanted && !d.prepared && d.settled }

// isKnown reports whether it is known what is wanted: adopted processes wait for a verdict.
func (d *demand) isKnown() bool { return d.settled || d.prepared || d.closing }

// letsGo reports whether detached processes are let go.
func (d *demand) letsGo() bool { return d.closing && d.keep }

// size is how many shards and spares there should be.
func (d *demand) size() (shards, spares int) {
	if !d.runs() {
		return 0, 0
	}
	shards, spares = min(max(d.desired.Instances, 1), maxMembers), min(max(d.desired.Standby, 0), maxMembers)
	if !d.wanted {
		spares = 0
	}
	return shards, spares
}

// stopCause says why there are to be no processes; empty: there are.
func (d *demand) stopCause() string {
	switch {
	case d.desired.Disabled != "":
		return d.desired.Disabled
	case d.missing != "":
		return d.missing
	case d.closing:
		return "the gateway is stopping"
	case !d.wanted && !d.prepared:
		return "no link uses it"
	}
	return ""
}
