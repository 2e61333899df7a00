// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What an attestation contract knows of its operators, for the local network and the tests.
/// @notice Ids count from 1 and are never given twice. Whoever leaves keeps his id in the books, as the real ones do.
abstract contract Registry {
    error OperatorNotRegistered(address operator);

    address[] internal everyone; // the operator with id n at n - 1
    uint256[] internal activeIds; // in no order: who leaves is replaced by the last
    mapping(address => uint256) internal idOf; // 0 for who is not registered

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

    function operatorsIdsByAddress(address operator) external view returns (uint256) {
        if (idOf[operator] == 0) revert OperatorNotRegistered(operator);
        return idOf[operator];
    }

    function getOperatorPaymentDetail(uint256 id) external view returns (address, uint256, uint256, uint8) {
        return (id == 0 || id > everyone.length ? address(0) : everyone[id - 1], 0, 0, 0);
    }
}

/// @notice The newest generation: the list of operators holds their BLS keys.
contract AttestationCenter is Registry {
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
            list[place] = Operator(everyone[id - 1], id, 100, 0, [uint256(1), 2, 3, 4]);
        }
    }

    function numOfActiveOperators() external view returns (uint256) {
        return activeIds.length;
    }

    function numOfTotalOperators() external view returns (uint256) {
        return everyone.length;
    }
}

/// @notice The generation before: the same selector, four words for each operator.
contract AttestationCenterWithoutKeys is Registry {
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
            list[place] = Operator(everyone[id - 1], id, 100, 0);
        }
    }

    function numOfActiveOperators() external view returns (uint256) {
        return activeIds.length;
    }
}

/// @notice The older generations: no list at all.
contract AttestationCenterWithoutList is Registry {
    function numOfOperators() external view returns (uint256) {
        return activeIds.length;
    }
}
