package mirror

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func buildKubernetes(ctx context.Context, b *bench) error {
	daemons := []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"}
	var pkgs []string
	for _, p := range append([]string{"kubeadm", "kubelet", "kubectl"}, daemons...) {
		pkgs = append(pkgs, "k8s.io/kubernetes/cmd/"+p)
	}
	number := strings.SplitN(strings.TrimPrefix(kubernetesVersion, "v"), ".", 3)
	var ld []string
	for _, p := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for k, v := range map[string]string{
			"gitVersion": kubernetesVersion, "gitMajor": number[0], "gitMinor": number[1], "gitTreeState": "clean",
		} {
			ld = append(ld, fmt.Sprintf("-X %s.%s=%s", p, k, v))
		}
	}
	bin, err := b.compile(ctx, goBuild{pkgs: pkgs, ldflags: strings.Join(ld, " ")})
	if err != nil {
		return err
	}
	if err := b.packKubernetes(bin); err != nil {
		return err
	}
	for _, name := range daemons {
		files := []file{program("/usr/local/bin", filepath.Join(bin, name))}
		var layers []string
		if name == "kube-proxy" { // it calls iptables, nft and conntrack
			base, err := b.base(ctx, baseNet)
			if err != nil {
				return err
			}
			layers = append(layers, filepath.Join(base, layerFile))
		} else {
			files = append(files, scratchFiles()...)
		}
		l, err := b.layer(files)
		if err != nil {
			return err
		}
		config := v1.Config{Entrypoint: []string{"/usr/local/bin/" + name}}
		if err := b.image(name+":"+kubernetesVersion, config, append(layers, l)...); err != nil {
			return err
		}
	}
	return nil
}

// packKubernetes makes the three packages. The kubelet's empty folders are
// held by a hidden file and the drop-in belongs to kubeadm, as upstream's
// (github.com/kubernetes/release, cmd/krel/templates/latest).
func (b *bench) packKubernetes(bin string) error {
	text := map[string][]byte{}
	for _, name := range []string{"kubelet.service", "kubelet.env", "10-kubeadm.conf"} {
		data, err := b.file(name, "")
		if err != nil {
			return err
		}
		text[name] = data
	}
	const units = "/usr/lib/systemd/system/"
	for _, d := range []deb{
		{name: "kubectl", files: []file{program("/usr/bin", filepath.Join(bin, "kubectl"))}},
		{name: "kubeadm", files: []file{
			program("/usr/bin", filepath.Join(bin, "kubeadm")),
			{path: units + "kubelet.service.d/10-kubeadm.conf", mode: 0o644, data: text["10-kubeadm.conf"]},
		}},
		{
			name:    "kubelet",
			scripts: map[string]string{"postinst": "postinst", "prerm": "prerm", "postrm": "postrm"},
			files: []file{
				program("/usr/bin", filepath.Join(bin, "kubelet")),
				{path: units + "kubelet.service", mode: 0o644, data: text["kubelet.service"]},
				{path: "/etc/default/kubelet", mode: 0o644, data: text["kubelet.env"]},
				{path: "/etc/kubernetes/manifests/.kubelet-keep", mode: 0o644},
				{path: "/var/lib/kubelet/.kubelet-keep", mode: 0o644},
			},
		},
	} {
		if err := b.pack(d); err != nil {
			return err
		}
	}
	return nil
}

// buildContainerd makes the one package with containerd and runc that Docker's
// repository has.
func buildContainerd(ctx context.Context, b *bench) error {
	const containerd = "github.com/containerd/containerd/v2/"
	bin, err := b.compile(ctx, goBuild{
		module: "containerd",
		pkgs:   []string{containerd + "cmd/containerd", containerd + "cmd/containerd-shim-runc-v2", containerd + "cmd/ctr"},
		// btrfs needs C headers that few machines have.
		tags:    "no_btrfs",
		ldflags: "-X " + containerd + "version.Version=v" + containerdVersion,
	})
	if err != nil {
		return err
	}
	files, err := programs("/usr/bin", bin)
	if err != nil {
		return err
	}
	bin, err = b.compile(ctx, goBuild{
		module: "runc", pkgs: []string{"github.com/opencontainers/runc"},
		tags: "seccomp,netgo,osusergo", cgo: true,
	})
	if err != nil {
		return err
	}
	unit, err := b.file("containerd.service", "")
	if err != nil {
		return err
	}
	config, err := b.file("config.toml", "")
	if err != nil {
		return err
	}
	return b.pack(deb{
		name:    "containerd.io",
		scripts: map[string]string{"postinst": "postinst", "prerm": "prerm", "postrm": "postrm"},
		files: append(files,
			program("/usr/bin", filepath.Join(bin, "runc")),
			file{path: "/usr/lib/systemd/system/containerd.service", mode: 0o644, data: unit},
			file{path: "/etc/containerd/config.toml", mode: 0o644, data: config},
		),
	})
}

func buildCNI(ctx context.Context, b *bench) error {
	const plugins = "github.com/containernetworking/plugins/"
	g := goBuild{ldflags: "-X " + plugins + "pkg/utils/buildversion.BuildVersion=v" + cniVersion}
	for _, p := range []string{
		"main/bridge", "main/dummy", "main/host-device", "main/ipvlan", "main/loopback", "main/macvlan",
		"main/ptp", "main/tap", "main/vlan", "meta/bandwidth", "meta/firewall", "meta/portmap", "meta/sbr",
		"meta/tuning", "meta/vrf", "ipam/dhcp", "ipam/host-local", "ipam/static",
	} {
		g.pkgs = append(g.pkgs, plugins+"plugins/"+p)
	}
	bin, err := b.compile(ctx, g)
	if err != nil {
		return err
	}
	files, err := programs("/opt/cni/bin", bin)
	if err != nil {
		return err
	}
	return b.pack(deb{name: "kubernetes-cni", files: files})
}

func buildPause(ctx context.Context, b *bench) error {
	source, err := b.file("pause.c", "")
	if err != nil {
		return err
	}
	bin := filepath.Join(b.scratch, "pause")
	if err := writeFile(bin+".c", source); err != nil {
		return err
	}
	if err := b.command(ctx, "gcc", "-Os", "-Wall", "-static", "-s", "-o", bin, bin+".c"); err != nil {
		return err
	}
	l, err := b.layer(append(scratchFiles(), program("/", bin)))
	if err != nil {
		return err
	}
	return b.image(b.recipe.Images[0], v1.Config{Entrypoint: []string{"/pause"}, User: "65535:65535"}, l)
}

func buildEtcd(ctx context.Context, b *bench) error {
	bin, err := b.compile(ctx, goBuild{pkgs: []string{
		"go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/etcdctl/v3", "go.etcd.io/etcd/etcdutl/v3",
	}})
	if err != nil {
		return err
	}
	files := append(scratchFiles(),
		file{path: "/usr/local/bin/etcd", mode: 0o755, src: filepath.Join(bin, "server")},
		program("/usr/local/bin", filepath.Join(bin, "etcdctl")),
		program("/usr/local/bin", filepath.Join(bin, "etcdutl")))
	l, err := b.layer(files)
	if err != nil {
		return err
	}
	return b.image(b.recipe.Images[0], v1.Config{Entrypoint: []string{"/usr/local/bin/etcd"}}, l)
}

func buildCoreDNS(ctx context.Context, b *bench) error {
	bin, err := b.compile(ctx, goBuild{main: "coredns"})
	if err != nil {
		return err
	}
	l, err := b.layer(append(scratchFiles(), program("/", filepath.Join(bin, "coredns"))))
	if err != nil {
		return err
	}
	return b.image(b.recipe.Images[0], v1.Config{Entrypoint: []string{"/coredns"}, WorkingDir: "/"}, l)
}

// buildFlannel makes the daemon's image and the one that an init container
// copies the CNI plugin from. The plugin's own repository is not a fetchable
// Go module, so it is the last one of the CNI project, v0.9.1.
func buildFlannel(ctx context.Context, b *bench) error {
	const flannel = "github.com/flannel-io/flannel"
	bin, err := b.compile(ctx, goBuild{
		module: "flannel", pkgs: []string{flannel}, cgo: true, tags: "netgo,osusergo",
		ldflags: "-X " + flannel + "/pkg/version.Version=" + flannelVersion,
	})
	if err != nil {
		return err
	}
	base, err := b.base(ctx, baseNet)
	if err != nil {
		return err
	}
	base = filepath.Join(base, layerFile)
	l, err := b.layer([]file{{path: "/opt/bin/flanneld", mode: 0o755, src: filepath.Join(bin, "flannel")}})
	if err != nil {
		return err
	}
	if err := b.image(b.recipe.Images[0], v1.Config{Entrypoint: []string{"/opt/bin/flanneld"}}, base, l); err != nil {
		return err
	}
	bin, err = b.compile(ctx, goBuild{
		module: "cni-plugin", pkgs: []string{"github.com/containernetworking/plugins/plugins/meta/flannel"},
	})
	if err != nil {
		return err
	}
	if l, err = b.layer([]file{program("/", filepath.Join(bin, "flannel"))}); err != nil {
		return err
	}
	return b.image(b.recipe.Images[1], v1.Config{}, base, l)
}
