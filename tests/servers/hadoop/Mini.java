import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.SafeModeAction;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.hadoop.hdfs.MiniDFSNNTopology;
import org.apache.hadoop.minikdc.MiniKdc;
import org.apache.hadoop.security.AuthenticationFilterInitializer;
import org.apache.hadoop.security.UserGroupInformation;

/**
 * A NameNode (or two: high availability) and two DataNodes in one process.
 *
 * <p>Arguments: folder, "format" or "keep", RPC and HTTP port of each NameNode separated by commas
 * (9000,9870 or 9000,9870,9001,9871), then name=value pairs of configuration. Commands come as lines on standard
 * input, and each is answered by one line on standard output; the end of the input ends the process.
 */
public class Mini {
    private static MiniDFSCluster cluster;
    private static final List<MiniDFSCluster.DataNodeProperties> stopped = new ArrayList<>();

    public static void main(String[] arguments) throws Exception {
        Configuration configuration = new Configuration();
        configuration.set("hdfs.minidfs.basedir", new File(arguments[0]).getAbsolutePath());
        configuration.setBoolean("dfs.namenode.acls.enabled", true);
        configuration.setInt("dfs.replication", 2);
        configuration.setLong("dfs.namenode.fs-limits.min-block-size", 1024);
        configuration.setLong("dfs.blocksize", 1 << 20);
        for (int index = 3; index < arguments.length; index++) {
            int end = arguments[index].indexOf('=');
            configuration.set(arguments[index].substring(0, end), arguments[index].substring(end + 1));
        }
        boolean secure = configuration.getBoolean("sync-runner.kerberos", false);
        if (secure) {
            startKerberos(new File(arguments[0]).getAbsoluteFile().getParentFile(), configuration);
        }
        String[] ports = arguments[2].split(",");
        MiniDFSCluster.Builder builder = new MiniDFSCluster.Builder(configuration).numDataNodes(2);
        builder.format(arguments[1].equals("format"));
        boolean available = ports.length == 4;
        if (available) {
            MiniDFSNNTopology.NSConf service = new MiniDFSNNTopology.NSConf("minidfs");
            service.addNN(nameNode("nn1", ports[0], ports[1])).addNN(nameNode("nn2", ports[2], ports[3]));
            builder.nnTopology(new MiniDFSNNTopology().addNameservice(service));
        } else {
            builder.nameNodePort(Integer.parseInt(ports[0])).nameNodeHttpPort(Integer.parseInt(ports[1]));
        }
        cluster = builder.build();
        if (available) {
            cluster.transitionToActive(0);
        }
        cluster.waitActive(0);
        cluster.triggerBlockReports();
        while (fileSystem().setSafeMode(SafeModeAction.GET)) {
            Thread.sleep(20);
        }
        fileSystem().setPermission(new Path("/"), new FsPermission((short) 0777));
        System.out.println("READY");
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            try {
                System.out.println("OK " + obey(line.split(" ")));
            } catch (Exception error) {
                System.out.println("ERROR " + error.toString().replace('\n', ' '));
            }
        }
        Runtime.getRuntime().halt(0);
    }

    /** A key distribution centre; krb5.conf and the keys of servers and of the client "backup" go to the folder. */
    private static void startKerberos(File folder, Configuration configuration) throws Exception {
        MiniKdc kdc = new MiniKdc(MiniKdc.createConf(), folder);
        kdc.start();
        String keytab = new File(folder, "keytab").getPath();
        kdc.createPrincipal(new File(keytab), "hdfs/localhost", "HTTP/localhost", "backup");
        Files.copy(kdc.getKrb5conf().toPath(), new File(folder, "krb5.conf").toPath());
        String server = "hdfs/localhost@" + kdc.getRealm();
        configuration.set("hadoop.security.authentication", "kerberos");
        configuration.setBoolean("hadoop.security.authorization", true);
        configuration.setBoolean("dfs.block.access.token.enable", true);
        configuration.setBoolean("ignore.secure.ports.for.testing", true);
        for (String node : new String[] {"namenode", "datanode"}) {
            configuration.set("dfs." + node + ".kerberos.principal", server);
            configuration.set("dfs." + node + ".keytab.file", keytab);
        }
        configuration.set("dfs.web.authentication.kerberos.principal", "HTTP/localhost@" + kdc.getRealm());
        configuration.set("dfs.web.authentication.kerberos.keytab", keytab);
        configuration.set("hadoop.http.filter.initializers", AuthenticationFilterInitializer.class.getName());
        configuration.set("hadoop.http.authentication.type", "kerberos");
        configuration.set("hadoop.http.authentication.kerberos.principal", "HTTP/localhost@" + kdc.getRealm());
        configuration.set("hadoop.http.authentication.kerberos.keytab", keytab);
        UserGroupInformation.setConfiguration(configuration);
        UserGroupInformation.loginUserFromKeytab(server, keytab);
    }

    private static MiniDFSNNTopology.NNConf nameNode(String name, String rpc, String http) {
        return new MiniDFSNNTopology.NNConf(name)
            .setIpcPort(Integer.parseInt(rpc)).setHttpPort(Integer.parseInt(http));
    }

    private static DistributedFileSystem fileSystem() throws Exception {
        return (DistributedFileSystem) cluster.getFileSystem(0);
    }

    private static String obey(String[] words) throws Exception {
        switch (words[0]) {
            case "stop-datanodes":
                while (!cluster.getDataNodes().isEmpty()) {
                    stopped.add(cluster.stopDataNode(0));
                }
                return "";
            case "start-datanodes":
                for (MiniDFSCluster.DataNodeProperties node : stopped) {
                    cluster.restartDataNode(node, true);
                }
                stopped.clear();
                cluster.waitActive();
                return "";
            case "safemode":
                SafeModeAction action = words[1].equals("on") ? SafeModeAction.ENTER : SafeModeAction.LEAVE;
                return "" + fileSystem().setSafeMode(action);
            case "quota":
                fileSystem().setQuota(new Path(words[1]), Long.parseLong(words[2]), Long.parseLong(words[3]));
                return "";
            case "token":
                return fileSystem().getDelegationToken("backup").encodeToUrlString();
            case "active":
                cluster.transitionToStandby(1 - Integer.parseInt(words[1]));
                cluster.transitionToActive(Integer.parseInt(words[1]));
                return "";
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }
}
