package launch

import (
	"fmt"
	"math/bits"
	"syscall"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/internal/depot"
)

const (
	// spareFiles is how many descriptors a driver process has beside those of its links: 9
	// when it starts, and what a trial of a link or a spill needs.
	spareFiles = 64
	// processFiles is how many descriptors of the gateway one driver process takes, and
	// coreFiles how many it has besides: the spool, the API, its watchers.
	processFiles = 16
	coreFiles    = 128

	// What the links of a process take of its memory: measured with the Modbus driver, 24 KB
	// a link with a device of 10 points, see docs/adr/0011-thousands-of-links.md.
	processMemory = 32 << 20
	linkMemory    = 20 << 10
	deviceMemory  = 4 << 10
	pointMemory   = 64

	// mostInstances is how many processes may share the links of a driver.
	mostInstances = 16
)

// size is what a driver has to do by a configuration.
type size struct{ links, devices, points int }

// sizeOf counts what a driver has in a configuration.
func sizeOf(driverName string, c *config.Config) (s size) {
	for _, l := range c.Links {
		if l.Driver != driverName {
			continue
		}
		s.links++
		s.devices += len(l.Devices)
		for _, d := range l.Devices {
			s.points += len(d.Table.Points)
		}
	}
	return s
}

// files is how many descriptors a process with all the links may have. It grows in powers of
// two, because a process that is to have more is replaced.
func (s size) files() int {
	return max(confine.DefaultFiles, int(powerOfTwo(int64(2*s.links+spareFiles))))
}

// memory is what a process with all the links takes.
func (s size) memory() int64 {
	return processMemory + int64(s.links)*linkMemory + int64(s.devices)*deviceMemory + int64(s.points)*pointMemory
}

// memoryLimit is what a process with all the links may take: twice what it does, in powers
// of two.
func (s size) memoryLimit() int64 { return max(confine.DefaultMemory, powerOfTwo(2*s.memory())) }

// powerOfTwo is the least power of two that is not less than n.
func powerOfTwo(n int64) int64 { return 1 << bits.Len64(uint64(max(n, 1)-1)) }

// share is the part of one process of several. Links go to processes by a hash of their
// names, which divides them not quite evenly.
func (s size) share(instances int) size {
	if instances <= 1 {
		return s
	}
	part := func(n int) int { return (n + n/8 + instances - 1) / instances }
	return size{part(s.links), part(s.devices), part(s.points)}
}

// instances is how many processes the links need where one may open so many files.
func (s size) instances(files uint64) int {
	n := 1
	for n < mostInstances && !s.share(n).fits(files) {
		n++
	}
	return n
}

// fits reports whether a process that may open so many files has room for the links.
func (s size) fits(files uint64) bool { return uint64(s.links+spareFiles) <= files }

// instancesOf is how many processes share a driver's links: as many as configured, or as
// they need.
func instancesOf(how config.Process, s size, files uint64) int {
	if how.Instances > 0 {
		return how.Instances
	}
	return s.instances(files)
}

// fileLimit is how many files a process of this gateway may open at most. A driver process
// cannot have more than the gateway.
func fileLimit() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return confine.DefaultFiles
	}
	return limit.Max
}

// limitWarnings says which limits the configuration reaches on a machine whose processes
// may open so many files, and what to set. memory is what a driver's package asks for; 0:
// nothing.
func limitWarnings(c *config.Config, files uint64, memory func(driverName string) int64) (list []string) {
	processes := 0
	for _, driverName := range c.Drivers() {
		how, s := c.Process(driverName), sizeOf(driverName, c)
		n := instancesOf(how, s, files)
		processes += 2 * (n + how.Standby) // those of an upgrade too
		share := s.share(n)
		switch {
		case !share.fits(files):
			list = append(list, filesText(driverName, s, share, n, files))
		case how.Instances == 0 && n > 1:
			list = append(list, fmt.Sprintf("driver %s: its %d links are shared by %d processes, because one may open %d files here: `LimitNOFILE=%d` in the systemd unit, or `ulimit -n`, lets one have them all",
				driverName, s.links, n, files, s.links+spareFiles))
		}
		if most := most(how.Memory, memory(driverName)); most > 0 && most < share.memory() {
			list = append(list, fmt.Sprintf("driver %s: a process with %d links and %d points takes about %d MB, and may take %d MB: set processes.%s.memory to at least %dMiB, or more instances",
				driverName, share.links, share.points, share.memory()/1e6, most/1e6, driverName, 2*share.memory()>>20))
		}
	}
	if need := uint64(coreFiles + processes*processFiles); need > files {
		list = append(list, fmt.Sprintf("the gateway itself may open %d files, and needs up to %d for %d driver processes: set `LimitNOFILE=%d` in the systemd unit, or raise `ulimit -n`",
			files, need, processes, need))
	}
	return list
}

// filesText is what to do where the files do not suffice.
func filesText(driverName string, s, share size, instances int, files uint64) string {
	text := fmt.Sprintf("driver %s: %d links in %d processes need up to %d open files each, and %d are possible here, so that up to %d links of a process will stay down: set `LimitNOFILE=%d` in the systemd unit, or raise `ulimit -n`",
		driverName, s.links, instances, share.links+spareFiles, files, uint64(share.links+spareFiles)-files, share.links+spareFiles)
	if need := s.instances(files); need > instances && s.share(need).fits(files) {
		text += fmt.Sprintf("; or set processes.%s.instances to at least %d, or remove it", driverName, need)
	}
	return text
}

// most is the operator's limit, else the package's.
func most(configured, packaged int64) int64 {
	if configured > 0 {
		return configured
	}
	return packaged
}

// userTasks is how many tasks all processes of a driver's user may have together: the
// kernel counts those of all drivers that run as the user.
func userTasks(driverName string, configs []*config.Config, files uint64) int {
	user, processes := configs[len(configs)-1].Process(driverName).User, 0
	if user == "" {
		return 0
	}
	for _, other := range configs[len(configs)-1].Drivers() {
		how := configs[len(configs)-1].Process(other)
		if how.User == user {
			processes += 2 * (instancesOf(how, sizeOf(other, configs[len(configs)-1]), files) + how.Standby)
		}
	}
	return processes * confine.DefaultTasks
}

// Instances is how many processes share the links of the state that is in force.
func Instances(how config.Process, state *control.State) int {
	return instancesOf(how, size{links: len(state.Links)}, fileLimit())
}

// LimitWarnings says which limits a configuration reaches on this machine, and what to set.
func LimitWarnings(c *config.Config, packages *depot.Depot) []string {
	return limitWarnings(c, fileLimit(), func(driverName string) int64 {
		of, err := packages.Image(driverName)
		if err != nil {
			return 0
		}
		return of.Manifest.Wants.Memory
	})
}
