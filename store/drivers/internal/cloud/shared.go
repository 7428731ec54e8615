package cloud

import (
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/workdir/workdir/store"
)

// shared are the backends shared by stores of this process, by their identity.
var shared struct {
	sync.Mutex
	backends map[string]*sharedBackend // guarded by the mutex
}

// sharedBackend is one of them.
type sharedBackend struct {
	mu        sync.Mutex
	backend   Backend    // nil until open; guarded by mu
	transport *Transport // guarded by mu
}

// environments are prefixes of the variables that openers and SDKs read.
var environments = []string{"AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR_", "CLOUDSDK_", "HOME", "HTTP", "http", "NO_PROXY", "no_proxy", "SSL_CERT_"}

// Shared returns the store of a URL. Stores opened with the same bucket, options and
// environment share one backend, which open makes for the first of them: a worker opens a
// workspace for each activity, but credentials and connections, which can be slow to get and
// rationed, should be reused. Each store counts its own traffic.
//
// The backend lives as long as the process, or until its credentials are refused: the next
// store then looks them up anew.
func Shared(u store.URL, open func() (Backend, *Transport, error)) (store.Store, error) {
	id := identity(u)
	common := sharedOf(id)
	common.mu.Lock()
	defer common.mu.Unlock()
	if common.backend == nil {
		b, t, err := open()
		if err != nil {
			return nil, err
		}
		common.backend, common.transport = b, t
	}
	s := newStore(common.backend, "", common.transport)
	s.id = id
	return s, nil
}

func sharedOf(id string) *sharedBackend {
	shared.Lock()
	defer shared.Unlock()
	if shared.backends == nil {
		shared.backends = map[string]*sharedBackend{}
	}
	if shared.backends[id] == nil {
		shared.backends[id] = &sharedBackend{}
	}
	return shared.backends[id]
}

// identity is everything that determines a backend.
func identity(u store.URL) string {
	environ := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return !slices.ContainsFunc(environments, func(start string) bool { return strings.HasPrefix(variable, start) })
	})
	slices.Sort(environ)
	return strings.Join(append([]string{u.Scheme, u.Bucket, u.Query}, environ...), "\x00")
}

// forget makes the next store of an id open a new backend.
func forget(id string) {
	shared.Lock()
	defer shared.Unlock()
	delete(shared.backends, id)
}
