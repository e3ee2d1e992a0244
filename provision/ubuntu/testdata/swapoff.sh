set -e
aside() { [ -L "$1" ] || [ ! -e "$1" ] || mv -- "$1" "$1.nucspark"; }
swapoff -a
systemctl daemon-reload
if [ -n "$(systemctl show -p FragmentPath --value -- 'swap.img.swap')" ]; then
	systemctl stop -- 'swap.img.swap'
	aside /etc/systemd/system/'swap.img.swap'
	systemctl mask -- 'swap.img.swap'
fi
aside /etc/systemd/zram-generator.conf
ln -sfn /dev/null /etc/systemd/zram-generator.conf
systemctl daemon-reload
