# scratch: writes alerts_test.yml
J='job="milvus-rebalancer", instance="a"'
def series(name, labels, values):
    l = J + (', ' + labels if labels else '')
    return f"      - series: '{name}{{{l}}}'\n        values: '{values}'\n"
out=["""# Every alert: when it fires, with what labels, and when it must not. `promtool test rules alerts_test.yml`.

rule_files:
  - recording.yml
  - alerts.yml

evaluation_interval: 1m

tests:
"""]
def case(alert, why, ser, fires):
    """fires: list of (time, [labels] or None)"""
    s=f"  # {why}\n  - interval: 1m\n    input_series:\n"+''.join(ser)+"    alert_rule_test:\n"
    for t,labels in fires:
        s+=f"      - eval_time: {t}\n        alertname: {alert}\n"
        if labels is None:
            s+="        exp_alerts: []\n"
        else:
            s+="        exp_alerts:\n"
            for l,ann in labels:
                s+="          - exp_labels: {"+l+"}\n            exp_annotations:\n"
                for k,v in ann.items():
                    s+=f"              {k}: '{v}'\n" if "'" not in v else f'              {k}: "{v}"\n'
    out.append(s+"\n")
import re,yaml
rules={r['alert']:r for r in yaml.safe_load(open('alerts.yml'))['groups'][0]['rules']}
def ann(alert, summary):
    a=dict(rules[alert]['annotations']); a['summary']=summary
    return a
def L(alert, extra=''):
    base='job: milvus-rebalancer, instance: a, severity: '+rules[alert]['labels']['severity']
    return base+(', '+extra if extra else '')
M='milvus_rebalancer_'
A='MilvusRebalancerDown'
case(A,'It does not answer for five minutes.',[series('up','','1 1 0x20')],[('4m',None),('8m',[(L(A),ann(A,'milvus-rebalancer on a does not answer.'))])])
A='MilvusRebalancerSignalsStale'
case(A,'Turns succeed for five minutes, then none does.',[series(M+'last_successful_turn_timestamp_seconds','','0 60 120 180 240 300x60')],[('20m',None),('30m',[(L(A),ann(A,'milvus-rebalancer on a has not seen Milvus for 25m 0s.'))])])
case(A,'It has never seen Milvus; promtool counts from 1970.',[series(M+'last_successful_turn_timestamp_seconds','','0x60')],[('9m',None),('25m',[(L(A),ann(A,'milvus-rebalancer on a has not seen Milvus for 25m 0s.'))])])
case(A,'Every turn succeeds.',[series(M+'last_successful_turn_timestamp_seconds','','0+60x60')],[('1h',None)])
A='MilvusRebalancerSignalsMissing'
case(A,'Two nodes cannot be read for half an hour; a third has a doubt that stops nothing.',[series(M+'doubts','doubt="unread"','2x60'),series(M+'doubts','doubt="node_standing"','1x60')],[('29m',None),('31m',[(L(A,'doubt: unread'),ann(A,'2 things that milvus-rebalancer on a needs to know are unknown (unread).'))])])
A='MilvusRebalancerOutOfBand'
case(A,'A node is overloaded for two hours; before that it was not for long enough.',[series(M+'overloaded_nodes','dimension="memory"','1x50 0 1x200'),series(M+'overloaded_nodes','dimension="rows"','0x260')],[('100m',None),('175m',[(L(A,'dimension: memory'),ann(A,'1 query nodes are overloaded in memory for two hours.'))])])
A='MilvusRebalancerNothingHelps'
case(A,'Overloaded, and no node has room.',[series(M+'overloaded_nodes','dimension="memory"','2x60'),series(M+'limited_by','reason="no_headroom"','1x60')],[('20m',None),('31m',[(L(A,'reason: no_headroom'),ann(A,'Query nodes are overloaded and nothing can be moved: no_headroom.'))])])
case(A,'Nothing is overloaded, and what holds back elsewhere is none of its business.',[series(M+'overloaded_nodes','dimension="memory"','0x60'),series(M+'limited_by','reason="no_headroom"','1x60')],[('50m',None)])
case(A,'A limit holds back, which ends by itself.',[series(M+'overloaded_nodes','dimension="memory"','2x60'),series(M+'limited_by','reason="call_rate"','1x60')],[('50m',None)])
A='MilvusRebalancerWavesWithoutRelief'
case(A,'It stopped after waves without relief.',[series(M+'waves_stopped','','0 0 1x5 0x5')],[('1m',None),('3m',[(L(A),ann(A,'Segments were moved and nobody was relieved; milvus-rebalancer on a stopped.'))]),('9m',None)])
A='MilvusRebalancerNetZeroHigh'
nz=lambda r,m:[series(M+'net_zero_ratio','origin="all"',f'{r}x60'),series(M+'net_zero_ratio','origin="foreign"',f'{r}x60'),series(M+'net_zero_moves','origin="daemon"',f'{m}x60'),series(M+'net_zero_moves','origin="foreign"','12x60')]
case(A,'Half of what moved came back.',nz('0.5',8),[('31m',[(L(A,'origin: all'),ann(A,'50% of the bytes moved in a day came back.'))])])
case(A,'Three moves out of five are no pattern.',nz('0.5',1),[('50m',None)])
case(A,'A tenth is usual.',nz('0.1',50),[('50m',None)])
A='MilvusRebalancerForeignMover'
fm=lambda mode,step:[series(M+'foreign_moves_total','',f'0+{step}x120'),series(M+'mode','mode="act"','1x120' if mode=='act' else '0x120'),series(M+'mode','mode="advise"','0x120' if mode=='act' else '1x120')]
case(A,'Somebody moves a segment a minute while it acts.',fm('act',1),[('90m',[(L(A),ann(A,'Somebody else moved 60 segments within an hour.'))])])
case(A,'While it only advises, that is how things are.',fm('advise',1),[('90m',None)])
case(A,'Nobody moves anything.',fm('act',0),[('90m',None)])
A='MilvusRebalancerOperationsUnknown'
lb=lambda step:[series(M+'load_balance_calls_total','result="unknown"',f'0+{step}x120'),series(M+'load_balance_calls_total','result="answered"','0+1x120')]
case(A,'A call in five minutes is never answered.',lb('0.2'),[('60m',[(L(A),ann(A,'6 LoadBalance calls of milvus-rebalancer on a were never answered.'))])])
case(A,'Every call is answered.',lb('0'),[('60m',None)])
A='MilvusRebalancerOperationsStuck'
mv=lambda open_,v:[series(M+'operations_open','',f'{open_}x120'),series(M+'moves_total','result="landed", origin="daemon"',v)]
case(A,'A move is open for an hour and nothing ends.',mv(1,'7x120'),[('50m',None),('70m',[(L(A),ann(A,'1 moves of milvus-rebalancer on a are open and none ends.'))])])
case(A,'Moves are always open because many move, and they land.',mv(3,'0+1x120'),[('90m',None)])
case(A,'Nothing is open.',mv(0,'7x120'),[('90m',None)])
A='MilvusRebalancerBudgetExhausted'
case(A,'The bytes of the day are spent for two hours.',[series(M+'limited_by','reason="daily_bytes"','1x150')],[('100m',None),('125m',[(L(A,'reason: daily_bytes'),ann(A,'The budget of a day is spent (daily_bytes) and more would be moved.'))])])
case(A,'The calls of a minute are spent, as they should be.',[series(M+'limited_by','reason="call_rate"','1x150')],[('140m',None)])
A='MilvusRebalancerJournalFailing'
case(A,'Writes fail.',[series(M+'journal_failures_total','','0x10 0+1x30')],[('9m',None),('20m',[(L(A),ann(A,'The journal of milvus-rebalancer on a cannot be written.'))])])
case(A,'Nothing may be sent because of it.',[series(M+'journal_failures_total','','0x30'),series(M+'limited_by','reason="journal_unavailable"','1x30')],[('10m',[(L(A,'reason: journal_unavailable'),ann(A,'The journal of milvus-rebalancer on a cannot be written.'))])])
A='MilvusRebalancerBreakerOpen'
case(A,'Calls fail, and so does each that is tried.',[series(M+'breaker','state="closed"','1 1 _x60'),series(M+'breaker','state="open"','_ _ 1x60')],[('20m',None),('40m',[(L(A,'state: open'),ann(A,'LoadBalance calls fail one after the other; milvus-rebalancer on a tries one now and then.'))])])
A='MilvusRebalancerUsersSlowed'
case(A,'It holds for a quarter of an hour.',[series(M+'guard_held','','0 1x30')],[('10m',None),('17m',[(L(A),ann(A,'Searches are worse than usual since milvus-rebalancer on a began to move.'))])])
A='MilvusRebalancerConfigRefused'
case(A,'A new configuration was wrong, then right.',[series(M+'config_last_reload_successful','','1 0x9 1x9')],[('3m',None),('8m',[(L(A),ann(A,'milvus-rebalancer on a refused its new configuration and goes on with the old one.'))]),('12m',None)])
A='MilvusRebalancerStoppedByPeople'
case(A,'Somebody forgot a pause.',[series(M+'limited_by','reason="paused"','1x800')],[('700m',None),('725m',[(L(A,'reason: paused'),ann(A,'milvus-rebalancer on a is held for half a day: paused.'))])])
SAT='MilvusRebalancerSaturated'
if SAT in rules:
    A=SAT
    case(A,'Everything is full, evenly.',[series(M+'saturated','dimension="memory"','1x60'),series(M+'saturated','dimension="rows"','0x60')],[('20m',None),('31m',[(L(A,'dimension: memory'),ann(A,'All query nodes are full, evenly: memory.'))])])
out.append("""  # The recorded series.
  - interval: 1m
    input_series:
      - series: 'milvus_rebalancer_turns_total{result="ok"}'
        values: '0+3x60'
      - series: 'milvus_rebalancer_turns_total{result="failed"}'
        values: '0+1x60'
      - series: 'milvus_rebalancer_pressure_worst_ratio{dimension="memory"}'
        values: '1.5x60'
      - series: 'milvus_rebalancer_pressure_floor_ratio{dimension="memory"}'
        values: '1.2x60'
      - series: 'milvus_rebalancer_pressure_floor_ratio{dimension="rows"}'
        values: '0x60'
      - series: 'milvus_rebalancer_limit{limit="calls_per_minute"}'
        values: '6x60'
      - series: 'milvus_rebalancer_limit_used{limit="calls_per_minute"}'
        values: '3x60'
      - series: 'milvus_rebalancer_limit_bytes{limit="bytes_per_hour"}'
        values: '0x60'
      - series: 'milvus_rebalancer_limit_used_bytes{limit="bytes_per_hour"}'
        values: '7x60'
      - series: 'milvus_rebalancer_waves_relief_predicted_total'
        values: '0+2x60'
      - series: 'milvus_rebalancer_waves_relief_realised_total'
        values: '0+1x60'
      - series: 'milvus_rebalancer_moved_bytes_total'
        values: '0+60x90'
      - series: 'milvus_rebalancer_last_successful_turn_timestamp_seconds'
        values: '3000x60'
    promql_expr_test:
      - expr: milvus_rebalancer:turns_failed:ratio_rate15m
        eval_time: 1h
        exp_samples: [{labels: 'milvus_rebalancer:turns_failed:ratio_rate15m', value: 0.25}]
      - expr: milvus_rebalancer:pressure_over_floor:ratio
        eval_time: 1h
        exp_samples: [{labels: 'milvus_rebalancer:pressure_over_floor:ratio{dimension="memory"}', value: 1.25}]
      - expr: milvus_rebalancer:limit_used:ratio
        eval_time: 1h
        exp_samples: [{labels: 'milvus_rebalancer:limit_used:ratio{limit="calls_per_minute"}', value: 0.5}]
      - expr: milvus_rebalancer:relief_realised:ratio_increase1d
        eval_time: 1h
        exp_samples: [{labels: 'milvus_rebalancer:relief_realised:ratio_increase1d', value: 0.5}]
      - expr: milvus_rebalancer:moved_bytes:rate1h
        eval_time: 1h
        exp_samples: [{labels: 'milvus_rebalancer:moved_bytes:rate1h', value: 1}]
      - expr: milvus_rebalancer:last_turn_age:seconds
        eval_time: 1h
        exp_samples: [{labels: 'milvus_rebalancer:last_turn_age:seconds', value: 600}]
""")
open('alerts_test.yml','w').write(''.join(out))
