set -e
swapoff -a
systemctl daemon-reload
[ -z "$(systemctl show -p FragmentPath --value -- 'swap.img.swap')" ] || systemctl mask --now -- 'swap.img.swap'
[ -L /etc/systemd/zram-generator.conf ] || [ ! -e /etc/systemd/zram-generator.conf ] || mv -- /etc/systemd/zram-generator.conf /etc/systemd/zram-generator.conf.nucspark
ln -sfn /dev/null /etc/systemd/zram-generator.conf
systemctl daemon-reload
