// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What an attestation contract knows of its operators, for the local network and the tests.
/// @notice Ids count from 1 and are never given twice. Whoever leaves keeps his id in the books, as the real ones do.
abstract contract Registry {
    error OperatorNotRegistered(address operator);

    address[] internal everyone; // the operator with id n at n - 1
    uint256[] internal activeIds; // in no order: who leaves is replaced by the last
    mapping(address => uint256) internal idOf; // 0 for who is not registered
    uint256 internal constant POWER = 100; // everyone's

    /// @notice The contract of the AVS, which the real ones call for each task; health checks find the registry there.
    address public avsLogic;

    /// @notice Names the contract of the AVS. Anyone may, as anyone may register: this is a local network.
    function setAvsLogic(address logic) external {
        avsLogic = logic;
    }

    /// @notice Registers an operator under the next id.
    function register(address operator) external {
        everyone.push(operator);
        idOf[operator] = everyone.length;
        activeIds.push(everyone.length);
    }

    /// @notice Takes an operator out; his payment detail stays.
    function unregister(address operator) external {
        for (uint256 place = 0; place < activeIds.length; ++place) {
            if (activeIds[place] == idOf[operator]) {
                activeIds[place] = activeIds[activeIds.length - 1];
                activeIds.pop();
                break;
            }
        }
        delete idOf[operator];
    }

    function operatorsIdsByAddress(address operator) public view returns (uint256) {
        if (idOf[operator] == 0) revert OperatorNotRegistered(operator);
        return idOf[operator];
    }

    function votingPower(address operator) external view returns (uint256) {
        operatorsIdsByAddress(operator);
        return POWER;
    }

    function getOperatorPaymentDetail(uint256 id) external view returns (address, uint256, uint256, uint8) {
        return (id == 0 || id > everyone.length ? address(0) : everyone[id - 1], 0, 0, 0);
    }
}

/// @notice What the generations with a list of operators have in common.
abstract contract Listed is Registry {
    function numOfActiveOperators() external view returns (uint256) {
        return activeIds.length;
    }

    /// @notice Counts the ids that were given: they run from 1 to it, those of whom left included.
    function numOfTotalOperators() external view returns (uint256) {
        return everyone.length;
    }

    /// @notice Reverts where an operator may not take part; here no task definition is restricted.
    function verifyOperatorValidForTaskDefinition(address operator, uint16) external view {
        operatorsIdsByAddress(operator);
    }
}

/// @notice The newest generation: the list of operators holds their BLS keys.
contract AttestationCenter is Listed {
    struct Operator {
        address operator;
        uint256 operatorId;
        uint256 votingPower;
        uint256 feeToClaim;
        uint256[4] blsKey;
    }

    function getActiveOperatorsDetails() external view returns (Operator[] memory list) {
        list = new Operator[](activeIds.length);
        for (uint256 place = 0; place < list.length; ++place) {
            uint256 id = activeIds[place];
            list[place] = Operator(everyone[id - 1], id, POWER, 0, [uint256(1), 2, 3, 4]);
        }
    }
}

/// @notice The generation before: the same selector, four words for each operator.
contract AttestationCenterWithoutKeys is Listed {
    struct Operator {
        address operator;
        uint256 operatorId;
        uint256 votingPower;
        uint256 feeToClaim;
    }

    function getActiveOperatorsDetails() external view returns (Operator[] memory list) {
        list = new Operator[](activeIds.length);
        for (uint256 place = 0; place < list.length; ++place) {
            uint256 id = activeIds[place];
            list[place] = Operator(everyone[id - 1], id, POWER, 0);
        }
    }
}

/// @notice The older generations: no list at all.
contract AttestationCenterWithoutList is Registry {
    function numOfOperators() external view returns (uint256) {
        return activeIds.length;
    }
}
