package configure

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long the files must be quiet before they are loaded: an editor
// writes several at once.
const settle = 250 * time.Millisecond

// TakeReloads reloads at each value of asked.
func (s *Service) TakeReloads(ctx context.Context, asked <-chan struct{}) error {
	for {
		select {
		case <-asked:
			_ = s.reload(ctx) // logged, and in the status
		case <-ctx.Done():
			return nil
		}
	}
}

// WatchFiles reloads when the files of the configuration change. The directories
// are watched, not the files: a file is often replaced by a rename.
func (s *Service) WatchFiles(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil { // the system has no watch left, say: no reason to poll no device
		s.Log.Warn("watch the configuration: changes need a SIGHUP", "err", err)
		return nil
	}
	defer func() { _ = w.Close() }()
	s.watchDirs(w)
	quiet := time.NewTimer(settle)
	quiet.Stop()
	for {
		select {
		case e := <-w.Events:
			if s.concerns(e) {
				quiet.Reset(settle)
			}
		case err := <-w.Errors:
			s.Log.Warn("watch the configuration: some changes may have been missed, SIGHUP reloads", "err", err)
			quiet.Reset(settle)
		case <-quiet.C:
			s.watchDirs(w) // a new one may have come
			_ = s.reload(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// watchDirs watches the directories that configuration is read from; adding one
// twice does no harm.
func (s *Service) watchDirs(w *fsnotify.Watcher) {
	a := s.InForce.Get()
	dirs := map[string]bool{a.Dir: true, filepath.Join(a.Dir, "links"): true}
	for _, f := range a.Files {
		dirs[filepath.Dir(f)] = true
	}
	for dir := range dirs {
		if err := w.Add(dir); err != nil && dir == a.Dir {
			s.Log.Warn("watch the configuration: changes need a SIGHUP", "err", err)
		}
	}
}

// concerns reports whether an event can have changed the configuration: one of a
// YAML file, or of the links directory itself.
func (s *Service) concerns(e fsnotify.Event) bool {
	if e.Op == fsnotify.Chmod {
		return false
	}
	switch filepath.Ext(e.Name) {
	case ".yaml", ".yml":
		return true
	}
	return filepath.Base(e.Name) == "links" && filepath.Dir(e.Name) == filepath.Clean(s.InForce.Get().Dir)
}
