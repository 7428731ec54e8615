package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
)

type options struct {
	port      int
	namespace string
	db        string
	logLevel  string
}

const (
	host        = "127.0.0.1"
	clusterName = "active"
)

// newServer returns a server that is not started yet, and its frontend's address.
func newServer(opts options) (temporal.Server, string, error) {
	ports, err := freePorts(opts.port, len(temporal.DefaultServices)+1)
	if err != nil {
		return nil, "", err
	}
	database := sqlConfig(opts.db)
	if err := prepare(database, opts); err != nil {
		return nil, "", err
	}
	address := net.JoinHostPort(host, strconv.Itoa(ports[0]))
	hosts := map[primitives.ServiceName]static.Hosts{}
	cfg := serverConfig(database, address)
	for i, name := range temporal.DefaultServices {
		hosts[primitives.ServiceName(name)] = static.SingleLocalHost(net.JoinHostPort(host, strconv.Itoa(ports[i])))
		cfg.Services[name] = config.Service{RPC: config.RPC{GRPCPort: ports[i], BindOnIP: host}}
	}
	// Operations of Nexus go through the frontend's HTTP port, also within the server.
	frontend := cfg.Services[string(primitives.FrontendService)]
	frontend.RPC.HTTPPort = ports[len(ports)-1]
	cfg.Services[string(primitives.FrontendService)] = frontend
	server, err := temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.ForServices(temporal.DefaultServices),
		// One process needs no gossip to find its services.
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(log.NewZapLogger(log.BuildZapLogger(log.Config{Level: opts.logLevel}))),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return authorization.NewNoopClaimMapper() }),
		temporal.WithDynamicConfigClient(dynamicconfig.StaticClient{
			// A search attribute can be used as soon as it was added.
			dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): true,
		}),
	)
	if err != nil {
		return nil, "", fmt.Errorf("make server: %w", err)
	}
	return server, address, nil
}

// freePorts returns n different ports that nobody listens on, the wished one first
// unless it is 0. All are held until all are known, so that they differ; whoever
// listens next finds them free, unless another process was faster.
func freePorts(wish, n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		if i > 0 {
			wish = 0
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(wish)))
		if err != nil {
			return nil, fmt.Errorf("find a port: %w", err)
		}
		defer func() { _ = l.Close() }()        // nobody has connected
		ports[i] = l.Addr().(*net.TCPAddr).Port // a TCP listener has no other
	}
	return ports, nil
}

// sqlConfig is the database in a file, or in memory if path is "".
func sqlConfig(path string) *config.SQL {
	cfg := &config.SQL{PluginName: sqliteplugin.PluginName, DatabaseName: path, ConnectAttributes: map[string]string{"mode": "rwc"}}
	if path == "" {
		cfg.DatabaseName = "temporal-dev"
		cfg.ConnectAttributes = map[string]string{"mode": "memory", "cache": "shared"}
	}
	return cfg
}

// prepare makes the database's tables if it is new, and the namespace. The tables
// of a database in memory are made by the plugin.
func prepare(database *config.SQL, opts options) error {
	if opts.db != "" {
		if err := makeTables(database); err != nil {
			return err
		}
	}
	namespace, err := sqlite.NewNamespaceConfig(clusterName, opts.namespace, false, nil)
	if err != nil {
		return fmt.Errorf("namespace %q: %w", opts.namespace, err)
	}
	if err := sqlite.CreateNamespaces(database, namespace); err != nil {
		return fmt.Errorf("namespace %q: %w", opts.namespace, err)
	}
	return nil
}

// makeTables makes a database that is not there. It gets its name when it is
// whole, so that a start that was interrupted leaves nothing that looks like one.
func makeTables(database *config.SQL) error {
	path := database.DatabaseName
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".temporal-dev")
	if err != nil {
		return fmt.Errorf("make database: %w", err)
	}
	defer os.RemoveAll(dir)
	fresh := *database
	fresh.DatabaseName = filepath.Join(dir, "db")
	if err := sqlite.SetupSchema(&fresh); err != nil {
		return fmt.Errorf("make database %s: %w", path, err)
	}
	return os.Rename(fresh.DatabaseName, path)
}

// serverConfig is everything but the services' ports. No port is opened for
// metrics or profiles.
func serverConfig(database *config.SQL, address string) *config.Config {
	return &config.Config{
		Global: config.Global{Membership: config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: host}},
		Persistence: config.Persistence{
			DefaultStore:     sqliteplugin.PluginName,
			VisibilityStore:  sqliteplugin.PluginName,
			NumHistoryShards: 1,
			DataStores:       map[string]config.DataStore{sqliteplugin.PluginName: {SQL: database}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: address},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services:            map[string]config.Service{},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		PublicClient: config.PublicClient{HostPort: address},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
	}
}
